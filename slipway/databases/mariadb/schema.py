"""The contents of a MariaDB or MySQL database: its schema as text, and checksums of all rows, computed by the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, text

from slipway.databases.checksums import ColumnSum, TableContents

COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
DEFINER = re.compile(r" DEFINER=`[^`]*`@`[^`]*`")
SETTINGS = """
    SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
    WHERE SCHEMA_NAME = DATABASE()
"""
TABLES = "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1"
TRIGGERS = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1"
ROUTINES = """
    SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1, 2
"""
COLUMNS = """
    SELECT COLUMN_NAME, DATA_TYPE, COLUMN_KEY = 'PRI' FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :table ORDER BY ORDINAL_POSITION
"""
SIZE = """
    SELECT coalesce(sum(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()
"""
# SQL of triggers, routines and views. A database that is named in this SQL keeps its name in a copy.
BODIES = """
    SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
    UNION ALL SELECT lower(ROUTINE_TYPE), ROUTINE_NAME, coalesce(ROUTINE_DEFINITION, '')
    FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()
    UNION ALL SELECT 'view', TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()
"""


def read_schema(connection: Connection) -> str:
    """Return the SQL of every table, view, trigger and routine, without counters and definers.

    Events are left out. They are not copied either, because they would run on their own schedule.
    """
    charset, collation = connection.execute(text(SETTINGS)).one()
    parts = [f"DATABASE CHARACTER SET {charset} COLLATE {collation}"]
    for name, kind in connection.execute(text(TABLES)).all():
        parts.append(_create_statement(connection, "VIEW" if kind == "VIEW" else "TABLE", name, 1))
    for [name] in connection.execute(text(TRIGGERS)).all():
        parts.append(_create_statement(connection, "TRIGGER", name, 2))
    for kind, name in connection.execute(text(ROUTINES)).all():
        parts.append(_create_statement(connection, kind, name, 2))
    return "\n".join(f"{part};" for part in parts)


def _create_statement(connection: Connection, kind: str, name: str, column: int) -> str:
    row = connection.exec_driver_sql(f"SHOW CREATE {kind} {quoted(name).replace('%', '%%')}").one()
    return DEFINER.sub("", COUNTER.sub("", str(row[column])))


def references_to(connection: Connection, other: str) -> tuple[str, ...]:
    """Return the triggers, routines and views (as `trigger x`) that name a table or routine with the database `other`.

    `connection` must be to a copy of `other`, so that the names of its tables and routines are known. A column of a
    table with the same name as the database is not a reference.
    """
    objects = {str(name).lower() for name, _ in connection.execute(text(TABLES))}
    objects |= {str(name).lower() for _, name in connection.execute(text(ROUTINES))}
    name = re.escape(other)
    reference = re.compile(rf"(?<![\w$`.])(?:`{name}`|{name})\s*\.\s*(?:`([^`]+)`|([\w$]+))", re.I)
    return tuple(
        f"{kind} {owner}"
        for kind, owner, body in connection.execute(text(BODIES))
        if any((match[1] or match[2]).lower() in objects for match in reference.finditer(str(body)))
    )


def read_contents(
    connection: Connection, run_query: Callable[[Callable[[], Row[Any]]], Row[Any]]
) -> tuple[TableContents, ...]:
    """Return the checksums of every table, ordered by name. `run_query` runs each long query and allows cancellation."""
    tables = [name for name, kind in connection.execute(text(TABLES)).all() if kind not in ("VIEW", "SEQUENCE")]
    contents = []
    for table in tables:
        columns = connection.execute(text(COLUMNS), {"table": table}).all()
        query = _query(table, [(name, kind) for name, kind, _ in columns], [name for name, _, key in columns if key])
        rows, *sums = run_query(partial(_only_row, connection, query))
        column_sums = (
            ColumnSum(name=name, present=sums[2 * at], checksum=str(sums[2 * at + 1]))
            for at, (name, _, _) in enumerate(columns)
        )
        contents.append(TableContents(table=table, rows=rows, columns=tuple(column_sums)))
    return tuple(contents)


def _only_row(connection: Connection, query: str) -> Row[Any]:
    return connection.exec_driver_sql(query).one()


def _query(table: str, columns: Sequence[tuple[str, str]], key: Sequence[str]) -> str:
    """Return the checksum query of a table.

    The hash of the key, or of the whole row without a key, seeds the hash of each value, so that swapped values change
    the sum. The sum adds the first 60 bits of each MD5 as a decimal number.
    """
    hashes = {name: f"MD5({_exact(name, kind)})" for name, kind in columns}
    seed = ", ".join(hashes[name] if key else f"coalesce({hashes[name]}, '-')" for name in key or hashes)
    sums = [
        f"count({quoted(name)}), "
        f"coalesce(sum(CAST(conv(left(MD5(concat(slipway_seed, {hashes[name]})), 15), 16, 10) AS UNSIGNED)), 0)"
        for name, _ in columns
    ]
    keyed = f"SELECT *, MD5(concat({seed})) AS slipway_seed FROM {quoted(table)}"  # noqa: S608 - names from the catalogue, quoted
    return f"SELECT {', '.join(['count(*)', *sums])} FROM ({keyed}) AS keyed".replace("%", "%%")  # noqa: S608


def _exact(column: str, kind: str) -> str:
    """Return SQL for a value as bytes: a float with all digits instead of six, and JSON as text, as MySQL cannot cast it."""
    if kind == "float":
        return f"CAST({quoted(column)} * 1e0 AS BINARY)"
    return f"CAST({quoted(column)} AS CHAR)" if kind == "json" else f"CAST({quoted(column)} AS BINARY)"


def quoted(name: str) -> str:
    """Return a name as a quoted identifier."""
    doubled = name.replace("`", "``")
    return f"`{doubled}`"
