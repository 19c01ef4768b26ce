"""Where the rows of a backfill come from, and the SQL that changes them: expressions over a table, or a CSV file.

A position orders the rows: the key in a table, the row's number in a file. The cursor of a backfill is a position.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Row, text

from slipway.backfilling.csv_rows import CsvRows
from slipway.config.backfill import Backfill

ARRAYS = {
    "integer": "bigint[]",
    "decimal": "numeric[]",
    "text": "text[]",
    "boolean": "boolean[]",
    "date": "date[]",
    "timestamp": "timestamptz[]",
}


class Span(NamedTuple):
    """The positions of a backfill: behind `after`, up to `upto`."""

    after: int
    upto: int


class Edge(NamedTuple):
    """Where a batch ends, and how many rows it passes."""

    last: int
    rows: int


class Applied(NamedTuple):
    """How many rows a batch changed, and which it cannot (position and reason)."""

    changed: int
    bad: dict[int, str]


class Source(Protocol):
    """The rows of one backfill. Every method works inside the caller's transaction; what SQLAlchemy raises goes up.

    `edge_sql` gives `last`, where a batch of at most `limit` rows ends, and `rows`, how many it passes; `last` is NULL
    when the span has no row. `change_sql` changes the rows behind `after` up to the edge, if one statement can do it
    that needs nothing but these parameters.
    """

    @property
    def edge_sql(self) -> str: ...

    @property
    def change_sql(self) -> str | None: ...

    def check(self, connection: Connection) -> None:
        """Let the database read the statement without running it; raises what it says of it."""

    def span(self, connection: Connection) -> Span | None:
        """All positions there are now; None when there is no row."""

    def count(self, connection: Connection, span: Span) -> int:
        """How many rows a span has; may take long."""

    def estimate(self, connection: Connection, span: Span) -> int:
        """About how many rows a span has; quick."""

    def edge_parameters(self, span: Span, limit: int) -> dict[str, int | None]:
        """The parameters of `edge_sql`."""

    def apply(self, connection: Connection, span: Span) -> Applied:
        """Change the rows of a span."""


def quoted(name: str) -> str:
    """An identifier, or `schema.table`, as SQL; the patterns of the file let no quote in."""
    return ".".join(f'"{part}"' for part in name.split("."))


class ExpressionSource:
    """Expressions over the rows of a table, each evaluated on the row as it is when its batch comes."""

    def __init__(self, backfill: Backfill) -> None:
        self._key, self._table = quoted(backfill.key), quoted(backfill.table)
        sets = ", ".join(f"{quoted(name)} = ({_verbatim(value)})" for name, value in backfill.assign.items())
        where = f" AND ({_verbatim(backfill.where)})" if backfill.where else ""
        self._range = f"{self._key} > :after AND {self._key} <= :upto"
        update = f"UPDATE {self._table} SET {sets} WHERE {self._key} > :after AND {self._key} <= "  # noqa: S608
        self._update = f"{update}:upto{where}"
        self.change_sql = f"{update}(SELECT last FROM edge){where} RETURNING 1"  # noqa: S608
        # Rows that `where` leaves out count too, so that a batch is bounded whatever it says.
        self.edge_sql = (
            f"SELECT max(key) AS last, count(*) AS rows FROM (SELECT {self._key} AS key FROM {self._table}"  # noqa: S608
            f" WHERE {self._range} ORDER BY {self._key} LIMIT :limit) AS batch"
        )

    def check(self, connection: Connection) -> None:
        """Plan the update."""
        connection.execute(text(f"EXPLAIN {self._update}"), {"after": 0, "upto": 0})

    def span(self, connection: Connection) -> Span | None:
        """From the least key to the greatest; rows with greater keys come later and are not part of it."""
        query = f"SELECT min({self._key}), max({self._key}) FROM {self._table}"  # noqa: S608
        least, greatest = connection.execute(text(query)).one()
        return None if least is None else Span(least - 1, greatest)

    def count(self, connection: Connection, span: Span) -> int:
        """Count the rows."""
        query = f"SELECT count(*) FROM {self._table} WHERE {self._range}"  # noqa: S608
        return int(connection.execute(text(query), span._asdict()).scalar_one())

    def estimate(self, connection: Connection, span: Span) -> int:
        """Ask the planner."""
        query = f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {self._table} WHERE {self._range}"  # noqa: S608
        plan: Any = connection.execute(text(query), span._asdict()).scalar_one()
        return int(plan[0]["Plan"]["Plan Rows"])

    def edge_parameters(self, span: Span, limit: int) -> dict[str, int | None]:
        """The span and the limit."""
        return {**span._asdict(), "limit": limit}

    def apply(self, connection: Connection, span: Span) -> Applied:
        """Update the rows; the database's own errors tell of bad ones."""
        return Applied(connection.execute(text(self._update), span._asdict()).rowcount, {})


class CsvSource:
    """Rows of a file, matched to the table's by key."""

    change_sql = None  # each batch brings its own values

    def __init__(self, backfill: Backfill, rows: CsvRows) -> None:
        assert backfill.csv is not None  # held by the caller
        self._key, self._at, self._rows = backfill.key, rows.columns.index(backfill.key), rows
        key, kinds = quoted(backfill.key), backfill.csv.columns
        arrays = ", ".join(f"CAST(:c{at} AS {ARRAYS[kinds[name]]})" for at, name in enumerate(rows.columns))
        names = ", ".join(quoted(name) for name in rows.columns)
        sets = ", ".join(f"{quoted(name)} = given.{quoted(name)}" for name in rows.columns if name != backfill.key)
        self.edge_sql = "SELECT CAST(:last AS bigint) AS last, CAST(:rows AS bigint) AS rows"
        self._update = (
            f"UPDATE {quoted(backfill.table)} AS kept SET {sets} FROM unnest({arrays}) AS given({names})"  # noqa: S608
            f" WHERE kept.{key} = given.{key} RETURNING kept.{key}"
        )

    def check(self, connection: Connection) -> None:
        """Plan the update."""
        connection.execute(text(f"EXPLAIN {self._update}"), self._arrays([]))

    def span(self, connection: Connection) -> Span | None:
        """All rows behind the header."""
        numbers = [*self._rows.good, *self._rows.bad]
        return Span(min(numbers) - 1, max(numbers)) if numbers else None

    def count(self, connection: Connection, span: Span) -> int:
        """Count the rows."""
        return len(self._numbers(span))

    def estimate(self, connection: Connection, span: Span) -> int:
        """The count."""
        return len(self._numbers(span))

    def edge_parameters(self, span: Span, limit: int) -> dict[str, int | None]:
        """The next rows of the file."""
        numbers = self._numbers(Span(span.after, min(span.upto, span.after + limit)))
        found = numbers or self._numbers(span)[:1]  # blank lines may leave a gap
        return {"last": found[-1] if found else None, "rows": len(found)}

    def apply(self, connection: Connection, span: Span) -> Applied:
        """Update the rows that are good; a key that the table does not have makes a bad one too."""
        numbers = self._numbers(span)
        good = {number: self._rows.good[number] for number in numbers if number in self._rows.good}
        updated = connection.execute(text(self._update), self._arrays(list(good.values()))).scalars()
        found: set[Any] = set(updated) if good else set()
        bad = {number: self._rows.bad[number] for number in numbers if number in self._rows.bad}
        for number, values in good.items():
            if values[self._at] not in found:
                bad[number] = f"{self._key}: the table has no row {values[self._at]}"
        return Applied(len(found), dict(sorted(bad.items())))

    def _numbers(self, span: Span) -> list[int]:
        known = (self._rows.good, self._rows.bad)
        return [
            number for number in range(span.after + 1, span.upto + 1) if any(number in numbers for numbers in known)
        ]

    def _arrays(self, rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
        return {f"c{at}": [row[at] for row in rows] for at in range(len(self._rows.columns))}


def key_faults(row: Row[Any] | None, table: str, key: str) -> str:
    """Why a column cannot be the key, by what the catalogue says of it; empty when it can."""
    if row is None:
        return f"There is no column {key} in {table}."
    if row.type not in ("smallint", "integer", "bigint"):
        return f"The key {key} of {table} is of type {row.type}."
    if not row.not_null or not row.is_unique:
        return f"The key {key} of {table} is not unique and NOT NULL."
    return ""


KEY = text("""
    SELECT format_type(a.atttypid, NULL) AS type, a.attnotnull AS not_null,
           EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
                   AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS is_unique
    FROM pg_attribute AS a WHERE a.attrelid = to_regclass(:table) AND a.attname = :key AND a.attnum > 0
      AND NOT a.attisdropped
""")


def _verbatim(written: str) -> str:
    """SQL as it was written: SQLAlchemy must not take `:name` in it for a parameter."""
    return written.replace(":", "\\:")
