"""What a SQLite file holds: its schema as text, and sums over all rows, read as a stream.

SQLite keeps the text of each CREATE as somebody once wrote it, and ALTER TABLE edits that text. So it is written anew from
its tokens: comments, spaces, quotes that a name does not need and the case of keywords make no difference, and each
column stands on a line of its own.
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
)  # what a migration may set besides, and what is kept in the file
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
# Words that have to be quoted where they are names, or whose case is the writer's taste.
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
    """Every table, index, view and trigger, by kind and name, and the settings that the file itself keeps."""
    found = sorted(connection.execute(OBJECTS), key=lambda row: (row[0] != "table", row[0], row[1]))
    settings = [f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};" for name in PRAGMAS]
    return "\n".join([*(f"{normalised(sql)};" for _, _, sql in found), *settings])


def normalised(sql: str) -> str:
    """A CREATE statement written anew: the same text for what means the same."""
    words = [_word(match) for match in TOKEN.finditer(sql) if match.lastgroup != "space"]
    if words[:2] != ["CREATE", "TABLE"] or "(" not in words:
        return _joined(words)
    start = words.index("(")
    lines, inside, depth = [_joined(words[: start + 1])], list[str](), 1
    for at, word in enumerate(words[start + 1 :], start=start + 1):
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return "\n".join([*lines, f"    {_joined(inside)}", _joined(words[at:])])
        inside.append(word)
        if depth == 1 and word == ",":
            lines.append(f"    {_joined(inside)}")
            inside = []
    return _joined(words)  # no end of the columns, as of a table made from nothing that we know


def _word(match: re.Match[str]) -> str:
    text = match[0]
    if match.lastgroup == "word":
        return text.upper() if text.upper() in KEYWORDS else text
    if match.lastgroup == "quoted":
        name = text[1:-1].replace(text[-1] * 2, text[-1])
        plain = PLAIN.fullmatch(name) and name.upper() not in KEYWORDS
        doubled = name.replace('"', '""')
        return name if plain else f'"{doubled}"'
    return text


def _joined(words: Sequence[str]) -> str:
    """Words with one space between, and none where a person writes none."""
    text = ""
    for before, word in zip(["", *words], words, strict=False):
        close = before in ("", "(", ".") or word in (",", ")", ".", ";")
        text += word if close else f" {word}"
    return text


def read_contents(connection: sqlite3.Connection) -> tuple[TableContents, ...]:
    """The sums of every ordinary table, by name; those of a virtual table stand in the tables behind it. Interruptible."""
    tables = connection.execute(f"{OBJECTS} AND type = 'table' ORDER BY name").fetchall()
    names = [name for _, name, sql in tables if "VIRTUAL" not in normalised(sql).split()[:2]]
    return tuple(_sum(connection, name) for name in names)


def _sum(connection: sqlite3.Connection, table: str) -> TableContents:
    """The hash of the key, or of the whole row where there is none, seeds the hash of each value.

    So two values that change places are seen. The hash is Python's own of a text (SipHash, 64 bits): sums are compared
    within one process and never kept. (That of a tuple would not do: it is nearly linear, and a sum hides the change.)
    """
    described = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    columns = [row[1] for row in described]
    key = [at for at, row in enumerate(described) if row[5]]
    rows, present, sums = 0, [0] * len(columns), [0] * len(columns)
    for row in _rows(connection, table, columns):
        rows += 1
        values = [repr(value) for value in row]  # 1, 1.0 and '1' are three values
        seed = hash("\0".join([values[at] for at in key] if key else values))
        for at, value in enumerate(values):
            if row[at] is not None:
                present[at] += 1
                sums[at] += hash(f"{seed} {value}")
    found = (
        ColumnSum(name=name, present=present[at], checksum=str(sums[at] & MASK)) for at, name in enumerate(columns)
    )
    return TableContents(table=table, rows=rows, columns=tuple(found))


def _rows(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """The rows as they come, never all at once."""
    named = ", ".join(map(quoted, columns))
    cursor = connection.execute(f"SELECT {named} FROM {quoted(table)}")  # noqa: S608 - names from the schema, quoted
    while some := list(islice(cursor, ROWS_AT_ONCE)):
        cancellation.check()
        yield from some


def quoted(name: str) -> str:
    """A name as SQLite takes any."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
