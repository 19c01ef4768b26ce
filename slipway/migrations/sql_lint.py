"""What is dangerous in a migration's SQL as it stands there: rows and columns that go, and large tables written anew.

It adds to squawk, which knows locks but neither UPDATE without WHERE nor the size of a table. The rehearsal has the last
word: it shows what is lost and which tables are written anew. Read with sqlglot's parser for PostgreSQL; what that cannot
read is itself a finding.

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
from slipway.databases.sizes import large_tables, rows_in_words
from slipway.migrations.sql_statements import POSTGRES, SqlStatement, split_statements
from slipway.migrations.table_rewrites import EVERY_TABLE, written_anew

SHOWN_SQL = 120
ALL_ROWS = (
    "Every row is written and locked in one transaction, and every index with it. Say which rows, or work in batches by "
    "primary key outside the migration; where all are meant, WHERE true says so."
)
LOST = "What it holds is gone with it. The rehearsal decides: it shows on a copy whether the way back brings it back."
UNREAD = "Nobody has checked it. Look at it by hand, or write it in a way that can be read."
UNWRITTEN = re.compile(r"-- .*CANNOT BE WRITTEN AS SQL")  # as Django's sqlmigrate says of what runs as Python
SEEN_ONLY = "What it does is not checked here. Look at it by hand; the rehearsal shows the statements that it sends."
HIDDEN = "It runs SQL that stands elsewhere or in a string, so what it does is not checked. Look at it by hand."
REWRITES = "Reads and writes wait under an ACCESS EXCLUSIVE lock until it is done. The rehearsal shows for how long."

HIDING = ("DO", "CALL", "EXECUTE", "EXPLAIN", "PREPARE", "DECLARE")
UNREAD_ON_PURPOSE = {"CLUSTER", "START", "END", "CHECKPOINT", "DISCARD", *HIDING}
# Statements that sqlglot takes in whole without reading them, and that change or remove no row.
HARMLESS = {
    *("CREATE", "COMMENT", "GRANT", "REVOKE", "RESET", "SET", "SHOW", "ANALYZE", "LOCK", "REINDEX", "REFRESH", "START"),
    *("NOTIFY", "LISTEN", "UNLISTEN", "DEALLOCATE", "DISCARD", "CHECKPOINT", "SECURITY", "VACUUM", "END"),
}
CHANGING = {"DROP", "TYPE", "ADD"}  # what an ALTER TABLE that cannot be read must not have
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
        """Say nothing: a statement that is taken in unread becomes a finding here, where it is one."""


def dangerous_statements(sql: str, tables: Sequence[TableSize], *, large_rows: int = LARGE_ROWS) -> tuple[Finding, ...]:
    """The findings about each statement, in the order of the text, then what the text leaves out; lines count from 1.

    `tables` are those of the live database before the migration. Statements about a migration tool's own version table
    are left out.
    """
    large = large_tables(tables, large_rows)
    read = (finding for statement in split_statements(sql) for finding in _statement(statement, large))
    return (*read, *_unwritten(sql))


def _unwritten(sql: str) -> Iterator[Finding]:
    for line, text in enumerate(sql.splitlines(), start=1):
        if UNWRITTEN.match(text):
            summary = f"Line {line} says that an operation cannot be written as SQL."
            yield Finding(code="sql-unwritten", level="warning", summary=summary, explanation=SEEN_ONLY)


def _statement(statement: SqlStatement, large: dict[str, int]) -> list[Finding]:
    read = _parse(statement)
    if read is None:
        return [_finding("sql-unparsable", "warning", statement, "cannot be read", UNREAD)]
    if isinstance(read, exp.Command):
        return _command(statement, large)
    found = []
    for node in read.walk():
        if isinstance(node, exp.Update | exp.Delete) and node.args.get("where") is None and _counts(node):
            verb = "updates" if isinstance(node, exp.Update) else "deletes"
            found.append(
                _finding("sql-no-where", "warning", statement, f"{verb} every row of {_name(node.this)}", ALL_ROWS)
            )
        elif isinstance(node, exp.TruncateTable):
            names = ", ".join(_name(table) for table in node.expressions)
            found.append(_finding("sql-truncate", "warning", statement, f"empties {names}", LOST))
        elif isinstance(node, exp.Drop):
            found.extend(_drop(statement, node))
        elif isinstance(node, exp.Alter) and _name(node.this) in large:
            found.extend(
                _rewrites(statement, _name(node.this), large[_name(node.this)], node.args.get("actions") or ())
            )
    return found


def _parse(statement: SqlStatement) -> exp.Expr | None:
    """The statement as a tree, or None when it cannot be read as a whole."""
    if not statement.tokens:
        return None
    if statement.tokens[0].text.upper() in UNREAD_ON_PURPOSE:
        return exp.Command(this=statement.tokens[0].text.upper())
    try:
        [read] = _Parser(dialect=POSTGRES, error_level=ErrorLevel.RAISE).parse(list(statement.tokens), statement.sql)
    except ParseError:
        return None
    return None if isinstance(read, exp.Update) and not read.expressions else read


def _counts(node: exp.Update | exp.Delete) -> bool:
    """An UPDATE of a MERGE or an upsert names its rows elsewhere; a version table has one row."""
    return isinstance(node.this, exp.Table) and node.this.name not in VERSION_TABLES


def _command(statement: SqlStatement, large: dict[str, int]) -> list[Finding]:
    """What sqlglot takes in without reading it: judged by its words, among which strings are not."""
    words = [token.text.upper() for token in statement.tokens if token.token_type != TokenType.STRING]
    if words[0] in ("CLUSTER", "VACUUM"):
        return _maintained(statement, large)
    if words[0] in HIDING:
        return [_finding("sql-unparsable", "warning", statement, f"does what {words[0]} hides", HIDDEN)]
    if words[0] in HARMLESS or (words[0] == "ALTER" and (words[1] != "TABLE" or CHANGING.isdisjoint(words))):
        return []
    return [_finding("sql-unparsable", "warning", statement, "cannot be read", UNREAD)]


def _maintained(statement: SqlStatement, large: dict[str, int]) -> list[Finding]:
    tables = written_anew(statement.sql, large)
    if tables == [EVERY_TABLE] and large:
        does = f"may write every table anew, {max(large, key=large.__getitem__)} among them"
        return [_finding("sql-rewrite", "warning", statement, does, REWRITES)]
    return [_rewrite(statement, table, large[table]) for table in tables if table in large]


def _drop(statement: SqlStatement, node: exp.Drop) -> Iterator[Finding]:
    kind = str(node.args.get("kind") or "").upper()
    if kind not in DATA_KINDS:
        return
    within = f" of {_name(node.parent.this)}" if isinstance(node.parent, exp.Alter) else ""
    names = [_name(each) for each in node.args.get("tables") or ()]
    if names and not set(names) <= set(VERSION_TABLES):
        does = f"drops the {kind.lower()} {', '.join(names)}{within}"
        yield _finding(f"sql-drop-{kind.lower()}", "info", statement, does, LOST)


def _rewrites(statement: SqlStatement, table: str, rows: int, actions: Sequence[exp.Expr]) -> Iterator[Finding]:
    if any(_action_rewrites(action) for action in actions):
        yield _rewrite(statement, table, rows)


def _action_rewrites(action: exp.Expr) -> bool:
    """Whether ALTER TABLE has to write every row anew (manual, "ALTER TABLE", Notes), or may have to for a type."""
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
    does = f"may write all {rows_in_words(rows)} of {table} anew"
    return _finding("sql-rewrite", "warning", statement, does, REWRITES)


def _name(node: exp.Expr) -> str:
    """The name as the catalogue has it: in lower case unless quoted, its schema unless public."""
    parts = [part for part in (node.args.get("db"), node.this) if isinstance(part, exp.Identifier)]
    names = [part.name if part.args.get("quoted") else part.name.lower() for part in parts]
    return ".".join(names[1:] if len(names) > 1 and names[0] == "public" else names)


def _finding(code: str, level: Level, statement: SqlStatement, does: str, explanation: str) -> Finding:
    shown = " ".join(statement.sql.split())
    shown = shown if len(shown) <= SHOWN_SQL else f"{shown[:SHOWN_SQL]}…"
    return Finding(code=code, level=level, summary=f"Line {statement.line} {does}: {shown}", explanation=explanation)
