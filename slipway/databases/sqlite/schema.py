"""The contents of a SQLite file: its schema as text, and checksums of all rows, read as a stream.

SQLite stores the original text of each CREATE statement, and ALTER TABLE edits that text. This module normalises the text
from its tokens: comments, spaces, unnecessary quotes and the case of keywords make no difference, and each column is on
its own line.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

from slipway.core import cancellation
from slipway.databases.checksums import ColumnSum, TableContents

ROWS_AT_ONCE = 1_000
MASK = (1 << 64) - 1
OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
PRAGMAS = (
    "user_version",
    "application_id",
    "encoding",
)  # settings that a migration may change and that the file stores
TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|$))
    |(?P<string>[xX]?'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>[\d.][\w.]*)
    |(?P<sign>\|\||<=|>=|<>|!=|==|<<|>>|->>?|.)""",
    re.X | re.S,
)
PLAIN = re.compile(r"[^\W\d][\w$]*")
# Words that need quotes as names, and whose case does not matter.
KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """ABORT ACTION ADD AFTER ALL ALTER ALWAYS AND AS ASC AUTOINCREMENT BEFORE BEGIN BETWEEN BY CASCADE CASE CAST CHECK
    COLLATE COLUMN CONFLICT CONSTRAINT CREATE CROSS CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP DEFAULT DEFERRABLE
    DEFERRED DELETE DESC DISTINCT DROP EACH ELSE END ESCAPE EXCEPT EXISTS FAIL FOR FOREIGN FROM GENERATED GLOB GROUP HAVING
    IF IGNORE IMMEDIATE IN INDEX INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN KEY LEFT LIKE LIMIT MATCH
    NATURAL NO NOT NOTNULL NULL NULLS OF OFFSET ON OR ORDER OUTER PRIMARY RAISE REFERENCES REPLACE RESTRICT RETURNING
    RIGHT ROLLBACK ROW ROWID SELECT SET STORED STRICT TABLE TEMP TEMPORARY THEN TO TRIGGER UNION UNIQUE UPDATE USING VALUES
    VIEW VIRTUAL WHEN WHERE WITH WITHOUT""",
    )
)


def read_schema(connection: sqlite3.Connection) -> str:
    """Return every table, index, view and trigger, ordered by type and name, and the settings that the file stores."""
    objects = sorted(connection.execute(OBJECTS), key=lambda row: (row[0] != "table", row[0], row[1]))
    settings = [f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};" for name in PRAGMAS]
    return "\n".join([*(f"{normalised(sql)};" for _, _, sql in objects), *settings])


def normalised(sql: str) -> str:
    """Return a CREATE statement in a normal form. Statements with the same meaning give the same text."""
    parts = [_token(match) for match in TOKEN.finditer(sql) if match.lastgroup != "space"]
    if parts[:2] != ["CREATE", "TABLE"] or "(" not in parts:
        return _joined(parts)
    start = parts.index("(")
    lines, column, depth = [_joined(parts[: start + 1])], list[str](), 1
    for at, part in enumerate(parts[start + 1 :], start=start + 1):
        depth += (part == "(") - (part == ")")
        if depth == 0:
            return "\n".join([*lines, f"    {_joined(column)}", _joined(parts[at:])])
        column.append(part)
        if depth == 1 and part == ",":
            lines.append(f"    {_joined(column)}")
            column = []
    return _joined(parts)  # the list of columns has no closing bracket


def _token(match: re.Match[str]) -> str:
    text = match[0]
    if match.lastgroup == "word":
        return text.upper() if text.upper() in KEYWORDS else text
    if match.lastgroup == "quoted":
        name = text[1:-1].replace(text[-1] * 2, text[-1])
        plain = PLAIN.fullmatch(name) and name.upper() not in KEYWORDS
        doubled = name.replace('"', '""')
        return name if plain else f'"{doubled}"'
    return text


def _joined(parts: Sequence[str]) -> str:
    """Join tokens with single spaces, and without spaces around brackets and punctuation."""
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        close = before in ("", "(", ".") or part in (",", ")", ".", ";")
        text += part if close else f" {part}"
    return text


def read_contents(connection: sqlite3.Connection) -> tuple[TableContents, ...]:
    """Return the checksums of every ordinary table, by name. Virtual tables store rows in ordinary tables. Can be cancelled."""
    tables = connection.execute(f"{OBJECTS} AND type = 'table' ORDER BY name").fetchall()
    names = [name for _, name, sql in tables if "VIRTUAL" not in normalised(sql).split()[:2]]
    return tuple(_sum(connection, name) for name in names)


def _sum(connection: sqlite3.Connection, table: str) -> TableContents:
    """Return the checksums of a table.

    The hash of the key, or of the whole row without a key, seeds the hash of each value, so that swapped values change
    the sum. The hash is Python's `hash` of a text (SipHash, 64 bits), because sums are only compared within one process.
    The hash of a tuple is not suitable: it is nearly linear, so that a sum hides changes.
    """
    columns_info = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    columns = [row[1] for row in columns_info]
    key = [at for at, row in enumerate(columns_info) if row[5]]
    rows, present, sums = 0, [0] * len(columns), [0] * len(columns)
    for row in _rows(connection, table, columns):
        rows += 1
        values = [repr(value) for value in row]  # 1, 1.0 and '1' are different values
        seed = hash("\0".join([values[at] for at in key] if key else values))
        for at, value in enumerate(values):
            if row[at] is not None:
                present[at] += 1
                sums[at] += hash(f"{seed} {value}")
    column_sums = (
        ColumnSum(name=name, present=present[at], checksum=str(sums[at] & MASK)) for at, name in enumerate(columns)
    )
    return TableContents(table=table, rows=rows, columns=tuple(column_sums))


def _rows(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Yield the rows in groups, so that they are never all in memory."""
    selected = ", ".join(map(quoted, columns))
    cursor = connection.execute(f"SELECT {selected} FROM {quoted(table)}")  # noqa: S608 - names from the schema, quoted
    while rows := list(islice(cursor, ROWS_AT_ONCE)):
        cancellation.check()
        yield from rows


def quoted(name: str) -> str:
    """Return a name as a quoted identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
