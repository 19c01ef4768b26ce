"""Find dangerous statements in the SQL of a migration: lost rows and columns, and rewrites of large tables.

squawk knows locks, but neither UPDATE without WHERE nor the size of a table. The rehearsal then shows what is really
lost, and which tables are really rewritten. The SQL is parsed with sqlglot's parser for PostgreSQL. A statement that it
cannot parse is a finding.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

from slipway.core.finding import Finding, Level
from slipway.databases.catalog import LARGE_ROWS, TableSize
from slipway.databases.database import VERSION_TABLES
from slipway.databases.sizes import format_rows, large_tables
from slipway.migrations.sql_statements import POSTGRES, SqlStatement, split_statements
from slipway.migrations.table_rewrites import EVERY_TABLE, rewritten_tables

SHOWN_SQL = 120
ALL_ROWS = (
    "One transaction writes and locks every row, and updates every index. Restrict the rows, or work in batches by primary "
    "key outside the migration. If all rows are meant, write WHERE true."
)
LOST = "The statement deletes all data in it. The rehearsal shows on a copy whether the downgrade restores the data."
UNPARSED = "The statement was not checked. Check it by hand, or write it in a form that can be parsed."
UNWRITTEN = re.compile(r"-- .*CANNOT BE WRITTEN AS SQL")  # Django's sqlmigrate prints this for Python code
NOT_SQL = "The operation was not checked. Check it by hand. The rehearsal shows the statements that it sends."
HIDDEN = "The statement runs SQL from a string or from another place, so it was not checked. Check it by hand."
REWRITES = "An ACCESS EXCLUSIVE lock blocks reads and writes during the rewrite. The rehearsal shows how long it takes."

HIDING_COMMANDS = ("DO", "CALL", "EXECUTE", "EXPLAIN", "PREPARE", "DECLARE")
NOT_PARSED = {"CLUSTER", "START", "END", "CHECKPOINT", "DISCARD", *HIDING_COMMANDS}
# Statements that sqlglot accepts without parsing them, and that change or remove no row.
HARMLESS = {
    *("CREATE", "COMMENT", "GRANT", "REVOKE", "RESET", "SET", "SHOW", "ANALYZE", "LOCK", "REINDEX", "REFRESH", "START"),
    *("NOTIFY", "LISTEN", "UNLISTEN", "DEALLOCATE", "DISCARD", "CHECKPOINT", "SECURITY", "VACUUM", "END"),
}
CHANGING = {"DROP", "TYPE", "ADD"}  # an unparsed ALTER TABLE with one of these is a finding
DATA_KINDS = ("TABLE", "COLUMN", "SCHEMA", "DATABASE")
MOVES = ("tablespace", "access_method", "option")  # ALTER TABLE … SET TABLESPACE, ACCESS METHOD, LOGGED and UNLOGGED
VOLATILE = (
    "random",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "clock_timestamp",
    "timeofday",
    "nextval",
)
SERIAL = ("SERIAL", "BIGSERIAL", "SMALLSERIAL")


class _Parser(PostgresParser):
    def _warn_unsupported(self) -> None:
        """Log nothing: this module reports a statement that sqlglot does not parse as a finding."""


def dangerous_statements(sql: str, tables: Sequence[TableSize], *, large_rows: int = LARGE_ROWS) -> tuple[Finding, ...]:
    """Return the findings about each statement in order, then those about operations that are not SQL; lines from 1.

    `tables` are the tables of the live database before the migration. Statements about a migration tool's own version
    table are skipped.
    """
    large = large_tables(tables, large_rows)
    findings = (finding for statement in split_statements(sql) for finding in _statement(statement, large))
    return (*findings, *_unwritten(sql))


def _unwritten(sql: str) -> Iterator[Finding]:
    for line, text in enumerate(sql.splitlines(), start=1):
        if UNWRITTEN.match(text):
            summary = f"Line {line} says that an operation cannot be written as SQL."
            yield Finding(code="sql-unwritten", level="warning", summary=summary, explanation=NOT_SQL)


def _statement(statement: SqlStatement, large: dict[str, int]) -> list[Finding]:
    tree = _parse(statement)
    if tree is None:
        return [_finding("sql-unparsable", "warning", statement, "cannot be parsed", UNPARSED)]
    if isinstance(tree, exp.Command):
        return _command(statement, large)
    findings = []
    for node in tree.walk():
        if isinstance(node, exp.Update | exp.Delete) and node.args.get("where") is None and _affects_rows(node):
            verb = "updates" if isinstance(node, exp.Update) else "deletes"
            findings.append(
                _finding("sql-no-where", "warning", statement, f"{verb} every row of {_name(node.this)}", ALL_ROWS)
            )
        elif isinstance(node, exp.TruncateTable):
            names = ", ".join(_name(table) for table in node.expressions)
            findings.append(_finding("sql-truncate", "warning", statement, f"empties {names}", LOST))
        elif isinstance(node, exp.Drop):
            findings.extend(_drop(statement, node))
        elif isinstance(node, exp.Alter) and _name(node.this) in large:
            findings.extend(
                _rewrites(statement, _name(node.this), large[_name(node.this)], node.args.get("actions") or ())
            )
    return findings


def _parse(statement: SqlStatement) -> exp.Expr | None:
    """Return the syntax tree of a statement, or None if it cannot be parsed completely."""
    if not statement.tokens:
        return None
    if statement.tokens[0].text.upper() in NOT_PARSED:
        return exp.Command(this=statement.tokens[0].text.upper())
    try:
        [tree] = _Parser(dialect=POSTGRES, error_level=ErrorLevel.RAISE).parse(list(statement.tokens), statement.sql)
    except ParseError:
        return None
    return None if isinstance(tree, exp.Update) and not tree.expressions else tree


def _affects_rows(node: exp.Update | exp.Delete) -> bool:
    """Return False for an UPDATE in a MERGE or an upsert, which selects its rows elsewhere, and for a version table."""
    return isinstance(node.this, exp.Table) and node.this.name not in VERSION_TABLES


def _command(statement: SqlStatement, large: dict[str, int]) -> list[Finding]:
    """Judge a statement that sqlglot accepts without parsing it, by its keywords; strings are ignored."""
    words = [token.text.upper() for token in statement.tokens if token.token_type != TokenType.STRING]
    if words[0] in ("CLUSTER", "VACUUM"):
        return _vacuum_or_cluster(statement, large)
    if words[0] in HIDING_COMMANDS:
        return [_finding("sql-unparsable", "warning", statement, f"runs SQL inside {words[0]}", HIDDEN)]
    if words[0] in HARMLESS or (words[0] == "ALTER" and (words[1] != "TABLE" or CHANGING.isdisjoint(words))):
        return []
    return [_finding("sql-unparsable", "warning", statement, "cannot be parsed", UNPARSED)]


def _vacuum_or_cluster(statement: SqlStatement, large: dict[str, int]) -> list[Finding]:
    tables = rewritten_tables(statement.sql, large)
    if tables == [EVERY_TABLE] and large:
        action = f"may rewrite every table, including {max(large, key=large.__getitem__)}"
        return [_finding("sql-rewrite", "warning", statement, action, REWRITES)]
    return [_rewrite(statement, table, large[table]) for table in tables if table in large]


def _drop(statement: SqlStatement, node: exp.Drop) -> Iterator[Finding]:
    kind = str(node.args.get("kind") or "").upper()
    if kind not in DATA_KINDS:
        return
    within = f" of {_name(node.parent.this)}" if isinstance(node.parent, exp.Alter) else ""
    names = [_name(table) for table in node.args.get("tables") or ()]
    if names and not set(names) <= set(VERSION_TABLES):
        action = f"drops the {kind.lower()} {', '.join(names)}{within}"
        yield _finding(f"sql-drop-{kind.lower()}", "info", statement, action, LOST)


def _rewrites(statement: SqlStatement, table: str, rows: int, actions: Sequence[exp.Expr]) -> Iterator[Finding]:
    if any(_action_rewrites(action) for action in actions):
        yield _rewrite(statement, table, rows)


def _action_rewrites(action: exp.Expr) -> bool:
    """Return whether ALTER TABLE rewrites every row (manual, "ALTER TABLE", Notes); a change of type may do so."""
    if isinstance(action, exp.AlterColumn):
        return action.args.get("dtype") is not None
    if isinstance(action, exp.AlterSet):
        return any(action.args.get(move) for move in MOVES)
    if not isinstance(action, exp.ColumnDef):
        return False
    kind = action.args.get("kind")
    if kind is not None and kind.sql("postgres").upper() in SERIAL:
        return True
    return any(_column_rewrites(constraint.kind) for constraint in action.find_all(exp.ColumnConstraint))


def _column_rewrites(constraint: exp.Expr) -> bool:
    if isinstance(constraint, exp.ComputedColumnConstraint | exp.GeneratedAsIdentityColumnConstraint):
        return True
    return isinstance(constraint, exp.DefaultColumnConstraint) and any(
        isinstance(node, exp.Rand | exp.Uuid) or (isinstance(node, exp.Anonymous) and node.name.lower() in VOLATILE)
        for node in constraint.walk()
    )


def _rewrite(statement: SqlStatement, table: str, rows: int) -> Finding:
    action = f"may rewrite all {format_rows(rows)} of {table}"
    return _finding("sql-rewrite", "warning", statement, action, REWRITES)


def _name(node: exp.Expr) -> str:
    """Return the name as in the catalogue: lower case unless quoted, with its schema unless that is public."""
    parts = [part for part in (node.args.get("db"), node.this) if isinstance(part, exp.Identifier)]
    names = [part.name if part.args.get("quoted") else part.name.lower() for part in parts]
    return ".".join(names[1:] if len(names) > 1 and names[0] == "public" else names)


def _finding(code: str, level: Level, statement: SqlStatement, action: str, explanation: str) -> Finding:
    shown = " ".join(statement.sql.split())
    shown = shown if len(shown) <= SHOWN_SQL else f"{shown[:SHOWN_SQL]}…"
    return Finding(code=code, level=level, summary=f"Line {statement.line} {action}: {shown}", explanation=explanation)
