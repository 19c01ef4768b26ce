"""The sources of a backfill's rows, and the SQL that changes them: expressions over a table, or a CSV file.

Rows are ordered by position: the key in a table, or the number of the row in a file. The cursor of a backfill is a
position.
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
    """The positions of a backfill: greater than `after`, up to and including `upto`."""

    after: int
    upto: int


class Edge(NamedTuple):
    """The end of a batch: its last position, and the number of its rows."""

    last: int
    rows: int


class Applied(NamedTuple):
    """The result of a batch: the number of changed rows, and the bad rows (position and reason)."""

    changed: int
    bad: dict[int, str]


class Source(Protocol):
    """The rows of one backfill. Every method runs in the caller's transaction, and does not handle SQLAlchemy's errors.

    `edge_sql` returns `last`, the last position of a batch of at most `limit` rows, and `rows`, the number of its rows.
    `last` is NULL if the span has no row. `change_sql` changes the rows after `after` up to the edge. It is None if the
    change needs other parameters.
    """

    @property
    def edge_sql(self) -> str: ...

    @property
    def change_sql(self) -> str | None: ...

    def check(self, connection: Connection) -> None:
        """Let the database plan the statement without running it. Raises the database's error."""

    def span(self, connection: Connection) -> Span | None:
        """Return the span of all current positions, or None if there is no row."""

    def count(self, connection: Connection, span: Span) -> int:
        """Return the number of rows in a span. This may take long."""

    def estimate(self, connection: Connection, span: Span) -> int:
        """Return a quick estimate of the number of rows in a span."""

    def edge_parameters(self, span: Span, limit: int) -> dict[str, int | None]:
        """Return the parameters of `edge_sql`."""

    def apply(self, connection: Connection, span: Span) -> Applied:
        """Change the rows of a span."""


def quoted(name: str) -> str:
    """Return an identifier, or `schema.table`, as quoted SQL. Validation of the file excludes quotes in names."""
    return ".".join(f'"{part}"' for part in name.split("."))


class ExpressionSource:
    """Expressions over the rows of a table, evaluated on each row's values at the time of its batch."""

    def __init__(self, backfill: Backfill) -> None:
        self._key, self._table = quoted(backfill.key), quoted(backfill.table)
        sets = ", ".join(f"{quoted(name)} = ({_verbatim(value)})" for name, value in backfill.assign.items())
        where = f" AND ({_verbatim(backfill.where)})" if backfill.where else ""
        self._range = f"{self._key} > :after AND {self._key} <= :upto"
        update = f"UPDATE {self._table} SET {sets} WHERE {self._key} > :after AND {self._key} <= "  # noqa: S608
        self._update = f"{update}:upto{where}"
        self.change_sql = f"{update}(SELECT last FROM edge){where} RETURNING 1"  # noqa: S608
        # Rows that `where` excludes also count, so that the number of rows that a batch reads is bounded.
        self.edge_sql = (
            f"SELECT max(key) AS last, count(*) AS rows FROM (SELECT {self._key} AS key FROM {self._table}"  # noqa: S608
            f" WHERE {self._range} ORDER BY {self._key} LIMIT :limit) AS batch"
        )

    def check(self, connection: Connection) -> None:
        """Plan the update."""
        connection.execute(text(f"EXPLAIN {self._update}"), {"after": 0, "upto": 0})

    def span(self, connection: Connection) -> Span | None:
        """Return the span from the least to the greatest key. Later rows with greater keys are not included."""
        query = f"SELECT min({self._key}), max({self._key}) FROM {self._table}"  # noqa: S608
        least, greatest = connection.execute(text(query)).one()
        return None if least is None else Span(least - 1, greatest)

    def count(self, connection: Connection, span: Span) -> int:
        """Count the rows."""
        query = f"SELECT count(*) FROM {self._table} WHERE {self._range}"  # noqa: S608
        return int(connection.execute(text(query), span._asdict()).scalar_one())

    def estimate(self, connection: Connection, span: Span) -> int:
        """Return the planner's estimate."""
        query = f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {self._table} WHERE {self._range}"  # noqa: S608
        plan: Any = connection.execute(text(query), span._asdict()).scalar_one()
        return int(plan[0]["Plan"]["Plan Rows"])

    def edge_parameters(self, span: Span, limit: int) -> dict[str, int | None]:
        """Return the span and the limit."""
        return {**span._asdict(), "limit": limit}

    def apply(self, connection: Connection, span: Span) -> Applied:
        """Update the rows. The database reports a bad row as an error."""
        return Applied(connection.execute(text(self._update), span._asdict()).rowcount, {})


class CsvSource:
    """Rows of a file, matched with the rows of the table by key."""

    change_sql = None  # each batch has its own values

    def __init__(self, backfill: Backfill, rows: CsvRows) -> None:
        assert backfill.csv is not None  # the caller has checked this
        self._key, self._key_index, self._rows = backfill.key, rows.columns.index(backfill.key), rows
        key, types = quoted(backfill.key), backfill.csv.columns
        arrays = ", ".join(f"CAST(:c{index} AS {ARRAYS[types[name]]})" for index, name in enumerate(rows.columns))
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
        """Return the span of all rows after the header."""
        numbers = [*self._rows.good, *self._rows.bad]
        return Span(min(numbers) - 1, max(numbers)) if numbers else None

    def count(self, connection: Connection, span: Span) -> int:
        """Count the rows."""
        return len(self._numbers(span))

    def estimate(self, connection: Connection, span: Span) -> int:
        """Return the exact number of rows."""
        return len(self._numbers(span))

    def edge_parameters(self, span: Span, limit: int) -> dict[str, int | None]:
        """Return the last position and the number of the next rows in the file."""
        numbers = self._numbers(Span(span.after, min(span.upto, span.after + limit)))
        batch = numbers or self._numbers(span)[:1]  # blank lines may leave a gap
        return {"last": batch[-1] if batch else None, "rows": len(batch)}

    def apply(self, connection: Connection, span: Span) -> Applied:
        """Update the good rows. A row whose key is not in the table is also bad."""
        numbers = self._numbers(span)
        good = {number: self._rows.good[number] for number in numbers if number in self._rows.good}
        updated = connection.execute(text(self._update), self._arrays(list(good.values()))).scalars()
        updated_keys: set[Any] = set(updated) if good else set()
        bad = {number: self._rows.bad[number] for number in numbers if number in self._rows.bad}
        for number, values in good.items():
            if values[self._key_index] not in updated_keys:
                bad[number] = f"{self._key}: the table has no row {values[self._key_index]}"
        return Applied(len(updated_keys), dict(sorted(bad.items())))

    def _numbers(self, span: Span) -> list[int]:
        groups = (self._rows.good, self._rows.bad)
        return [number for number in range(span.after + 1, span.upto + 1) if any(number in rows for rows in groups)]

    def _arrays(self, rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
        return {f"c{index}": [row[index] for row in rows] for index in range(len(self._rows.columns))}


def key_error(row: Row[Any] | None, table: str, key: str) -> str:
    """Return why a column (`row` of the query KEY) cannot be the key, or an empty text if it can."""
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


def _verbatim(expression: str) -> str:
    """Return the SQL with escaped colons, so that SQLAlchemy finds no parameters in it."""
    return expression.replace(":", "\\:")
