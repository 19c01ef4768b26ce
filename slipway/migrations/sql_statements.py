"""SQL cut into its statements by a tokenizer: a semicolon in a string, a comment or a function's body cuts nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import Dialect
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

POSTGRES = Dialect.get_or_raise("postgres")


@dataclass(frozen=True)
class SqlStatement:
    """One statement: its text, the line on which it begins (from 1), and its tokens without comments."""

    sql: str
    line: int
    tokens: tuple[Token, ...]


def split_statements(sql: str) -> tuple[SqlStatement, ...]:
    """The statements of a text, without their semicolons; a text that cannot be cut is one statement without tokens."""
    try:
        tokens = POSTGRES.tokenize(sql)
    except TokenError:
        return (SqlStatement(sql=sql.strip(), line=1, tokens=()),)
    found: list[SqlStatement] = []
    begun: list[Token] = []
    for token in tokens:
        if token.token_type != TokenType.SEMICOLON:
            begun.append(token)
        elif begun:
            found.append(_statement(sql, begun))
            begun = []
    return (*found, _statement(sql, begun)) if begun else tuple(found)


def _statement(sql: str, tokens: list[Token]) -> SqlStatement:
    text = sql[tokens[0].start : tokens[-1].end + 1]
    return SqlStatement(sql=text, line=sql.count("\n", 0, tokens[0].start) + 1, tokens=tuple(tokens))
