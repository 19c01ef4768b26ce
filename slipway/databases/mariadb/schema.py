"""What a MariaDB or MySQL database holds: its schema as text, and sums over all rows, computed by the server itself."""

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
# Texts that run when a table is used, and in which a name of another database stays as somebody wrote it.
BODIES = """
    SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
    UNION ALL SELECT lower(ROUTINE_TYPE), ROUTINE_NAME, coalesce(ROUTINE_DEFINITION, '')
    FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()
    UNION ALL SELECT 'view', TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()
"""


def read_schema(connection: Connection) -> str:
    """Every table, view, trigger and routine as the server writes it, without counters and the names of who made it.

    Events are left out: they are not copied either, as they would run by themselves.
    """
    charset, collation = connection.execute(text(SETTINGS)).one()
    told = [f"DATABASE CHARACTER SET {charset} COLLATE {collation}"]
    for name, kind in connection.execute(text(TABLES)).all():
        told.append(_shown(connection, "VIEW" if kind == "VIEW" else "TABLE", name, 1))
    for [name] in connection.execute(text(TRIGGERS)).all():
        told.append(_shown(connection, "TRIGGER", name, 2))
    for kind, name in connection.execute(text(ROUTINES)).all():
        told.append(_shown(connection, kind, name, 2))
    return "\n".join(f"{part};" for part in told)


def _shown(connection: Connection, kind: str, name: str, column: int) -> str:
    row = connection.exec_driver_sql(f"SHOW CREATE {kind} {quoted(name).replace('%', '%%')}").one()
    return DEFINER.sub("", COUNTER.sub("", str(row[column])))


def names_of_another(connection: Connection, other: str) -> tuple[str, ...]:
    """The triggers, routines and views that name something of the database `other` by its name, as `trigger x`.

    `connection` is to a copy of `other`, so that what `other` has is known: a table called like its database is none.
    """
    has = {str(name).lower() for name, _ in connection.execute(text(TABLES))}
    has |= {str(name).lower() for _, name in connection.execute(text(ROUTINES))}
    name = re.escape(other)
    named = re.compile(rf"(?<![\w$`.])(?:`{name}`|{name})\s*\.\s*(?:`([^`]+)`|([\w$]+))", re.I)
    return tuple(
        f"{kind} {called}"
        for kind, called, body in connection.execute(text(BODIES))
        if any((found[1] or found[2]).lower() in has for found in named.finditer(str(body)))
    )


def read_contents(
    connection: Connection, waited: Callable[[Callable[[], Row[Any]]], Row[Any]]
) -> tuple[TableContents, ...]:
    """The sums of every table, by name; `waited` runs each of the long queries, interruptibly."""
    tables = [name for name, kind in connection.execute(text(TABLES)).all() if kind not in ("VIEW", "SEQUENCE")]
    found = []
    for table in tables:
        columns = connection.execute(text(COLUMNS), {"table": table}).all()
        query = _query(table, [(name, kind) for name, kind, _ in columns], [name for name, _, key in columns if key])
        rows, *sums = waited(partial(_one, connection, query))
        summed = (
            ColumnSum(name=name, present=sums[2 * at], checksum=str(sums[2 * at + 1]))
            for at, (name, _, _) in enumerate(columns)
        )
        found.append(TableContents(table=table, rows=rows, columns=tuple(summed)))
    return tuple(found)


def _one(connection: Connection, query: str) -> Row[Any]:
    return connection.exec_driver_sql(query).one()


def _query(table: str, columns: Sequence[tuple[str, str]], key: Sequence[str]) -> str:
    """The hash of the key, or of the whole row where there is none, seeds the hash of each value.

    So two values that change places are seen. Of each MD5 the first 60 bits are summed, as a decimal number.
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
    """A value as bytes: a float in full, which is else shown in six digits; JSON as text, which MySQL does not cast."""
    if kind == "float":
        return f"CAST({quoted(column)} * 1e0 AS BINARY)"
    return f"CAST({quoted(column)} AS CHAR)" if kind == "json" else f"CAST({quoted(column)} AS BINARY)"


def quoted(name: str) -> str:
    """A name as MariaDB and MySQL take any."""
    doubled = name.replace("`", "``")
    return f"`{doubled}`"
