"""Split SQL into statements with a tokenizer, so that a semicolon in a string, comment or function body is ignored. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import Dialect
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

POSTGRES = Dialect.get_or_raise("postgres")


@dataclass(frozen=True)
class SqlStatement:
    """One statement: its text, its first line (from 1), and its tokens without comments."""

    sql: str
    line: int
    tokens: tuple[Token, ...]


def split_statements(sql: str) -> tuple[SqlStatement, ...]:
    """Return the statements without their semicolons. A text with an invalid token is one statement without tokens."""
    try:
        tokens = POSTGRES.tokenize(sql)
    except TokenError:
        return (SqlStatement(sql=sql.strip(), line=1, tokens=()),)
    statements: list[SqlStatement] = []
    current: list[Token] = []
    for token in tokens:
        if token.token_type != TokenType.SEMICOLON:
            current.append(token)
        elif current:
            statements.append(_statement(sql, current))
            current = []
    return (*statements, _statement(sql, current)) if current else tuple(statements)


def _statement(sql: str, tokens: list[Token]) -> SqlStatement:
    text = sql[tokens[0].start : tokens[-1].end + 1]
    return SqlStatement(sql=text, line=sql.count("\n", 0, tokens[0].start) + 1, tokens=tuple(tokens))
