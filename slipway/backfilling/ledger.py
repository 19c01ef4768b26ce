"""A backfill in the service's own database: each batch moves the rows and the cursor in one transaction.

The cursor moves only from where this process found it, so of two processes that are at the same batch one commits and
the other undoes its own; and a process that dies, at whatever moment, leaves rows and cursor as they were before its
last batch or as they are behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import psycopg
from sqlalchemy import Connection, Row, TextClause, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from slipway.backfilling import statements as sql
from slipway.backfilling.errors import TimedOut, is_bad_data, told, words
from slipway.backfilling.sources import KEY, Edge, Source, Span, key_faults, quoted
from slipway.config.backfill import Backfill
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.databases.database import DRIVER
from slipway.databases.postgresql.database import PostgreSQL

COUNTED_UP_TO = 200_000  # rows
COUNT_WITHIN_S = 5


class BackfillState(NamedTuple):
    """How far a backfill is, as its row in the service's database says."""

    digest: str
    upper: int
    cursor: int
    total: int
    total_is_exact: bool
    rows_passed: int
    rows_changed: int
    rows_skipped: int
    finished_at: datetime | None


class Ledger:
    """The one connection of a backfill to the service's database. Use as a context manager.

    Methods raise Unavailable when the database is away and SlipwayError for what it will always refuse.
    """

    def __init__(self, database: PostgreSQL, name: str, backfill: Backfill, source: Source) -> None:
        self._name, self._backfill, self._source = name, backfill, source
        more = {"application_name": application_name(name), "prepare_threshold": None}
        self._engine = create_engine(database.url.set(drivername=DRIVER), connect_args=more, poolclass=StaticPool)
        self._edge = sql.edge_query(source.edge_sql)
        self._batch = (
            self._written(text(sql.whole_batch(source.edge_sql, source.change_sql))) if source.change_sql else None
        )
        self._written_limits = self._written(sql.LIMITS)
        self._driver: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def cancel(self) -> None:
        """End the statement that is running, if there is one; for another thread."""
        driver = self._driver
        if driver is not None:
            with suppress(Exception):  # it has just ended, or its connection has
                driver.cancel()

    def check(self) -> None:
        """Hold key and statement against the table, without running it. Raises InvalidInput."""
        names = {"table": quoted(self._backfill.table), "key": self._backfill.key}
        with self._transaction() as connection:
            fault = key_faults(connection.execute(KEY, names).one_or_none(), self._backfill.table, self._backfill.key)
            if fault:
                raise InvalidInput(fault, expected="A column of integers that is unique and NOT NULL.")
            self._source.check(connection)

    def begin(self, digest: str) -> BackfillState:
        """Where the backfill stands; a new one gets its bounds here, once and for all. Raises InvalidInput for another file."""
        self._make_tables()
        with self._transaction() as connection:
            known = _standing(connection.execute(sql.LOOK, {"name": self._name}).one_or_none())
        if known is None:
            known = self._enter(digest)
        if known.digest != digest:
            raise InvalidInput(
                f"The backfill {self._name} was begun with another file: {_how_far(known)}.",
                expected="The file as it was; what is to be done otherwise gets another name.",
            )
        return known

    def advance(self, at: BackfillState, limit: int) -> tuple[BackfillState, dict[int, str]]:
        """One batch of at most `limit` rows in one transaction: how far it is then, and the bad rows that it skipped.

        A batch of one row that the database refuses is skipped. Raises TimedOut, Refused for more than one row, and
        Unavailable when another process has moved the cursor: then nothing of this batch was done.
        """
        span = Span(at.cursor, at.upper)
        if self._batch is not None and limit > 1:
            standing = self._in_one_go(self._batch, span, limit)
            if standing is not None:
                return standing, {}
        with self._begun() as connection:
            wanted = {**self._source.edge_parameters(span, limit), **self._limits()}
            last, rows = connection.execute(self._edge, wanted).one()
            if last is None:
                return self._moved(connection, sql.FINISH, {"after": at.cursor}), {}
            return self._move(connection, span, Edge(last, rows))

    def skipped(self) -> dict[int, str]:
        """The rows that were skipped so far, with their reasons."""
        with self._transaction() as connection:
            return {row.position: row.reason for row in connection.execute(sql.SKIPPED, {"name": self._name})}

    def retry_skipped(self, position: int) -> None:
        """Try a skipped row once more; one that is still bad stays skipped, with its newest reason."""
        where = {"name": self._name, "position": position}
        with self._transaction() as connection:
            if connection.execute(sql.UNSKIP, where).rowcount == 0:  # another process has; this also waits for it
                return
            changed, bad = self._apply_alone(connection, Span(position - 1, position), position)
            if bad:
                connection.execute(sql.SKIP, {**where, "reason": bad[position]})
            else:
                connection.execute(sql.MENDED, {"name": self._name, "changed": changed})

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """The connection between two batches, for a look at the database's health."""
        with self._transaction() as connection:
            yield connection

    def _in_one_go(self, batch: bytes, span: Span, limit: int) -> BackfillState | None:
        """A batch in one round trip, its COMMIT included; None when it found nothing to do, for whatever reason.

        The limits are a statement of their own, as they hold for the next one only.
        """
        parameters = {**self._source.edge_parameters(span, limit), "name": self._name}
        with self._begun() as connection:
            driver = cast(psycopg.Connection, connection.connection.driver_connection)
            with driver.pipeline():
                driver.execute(self._written_limits, self._limits())
                moved = driver.execute(batch, parameters)
                driver.commit()
            row = moved.fetchone()
        return None if row is None else BackfillState(*row)

    def _written(self, statement: TextClause) -> bytes:
        """As psycopg itself wants it."""
        return str(statement.compile(dialect=self._engine.dialect)).encode()

    def _make_tables(self) -> None:
        """Only where they are missing: a role that may not create tables can be given them by one that may."""
        with self._transaction() as connection:
            if not connection.execute(sql.HAS_TABLES).scalar_one():
                connection.execute(sql.ALONE)
                for statement in sql.TABLES:
                    connection.execute(text(statement))

    def _enter(self, digest: str) -> BackfillState:
        with self._transaction() as connection:
            span = self._source.span(connection) or Span(0, 0)
        total, exact = self._total(span)
        values = {"name": self._name, "digest": digest, **span._asdict(), "total": total, "exact": exact}
        with self._transaction() as connection:
            connection.execute(sql.BEGIN, values)
            entered = _standing(connection.execute(sql.LOOK, {"name": self._name}).one())
        assert entered is not None
        return entered

    def _total(self, span: Span) -> tuple[int, bool]:
        """Counted where the planner takes the table for small, estimated elsewhere: a count would read it all."""
        with self._transaction() as connection:
            estimate = self._source.estimate(connection, span)
        if estimate > COUNTED_UP_TO:
            return estimate, False
        try:  # without statistics the planner takes a large table for a small one
            with self._transaction(COUNT_WITHIN_S) as connection:
                return self._source.count(connection, span), True
        except TimedOut:
            return estimate, False

    def _move(self, connection: Connection, span: Span, edge: Edge) -> tuple[BackfillState, dict[int, str]]:
        wanted = Span(span.after, edge.last)
        if edge.rows == 1:
            changed, bad = self._apply_alone(connection, wanted, edge.last)
        else:
            changed, bad = self._source.apply(connection, wanted)
        for position, reason in bad.items():
            connection.execute(sql.SKIP, {"name": self._name, "position": position, "reason": reason})
        way = {"after": span.after, "cursor": edge.last, "passed": edge.rows, "changed": changed, "skipped": len(bad)}
        standing = self._moved(connection, sql.MOVE, way)
        self._refuse_too_many(standing, bad)
        return standing, bad

    def _apply_alone(self, connection: Connection, span: Span, position: int) -> tuple[int, dict[int, str]]:
        """One row by itself: what the database refuses, deferred constraints too, is its reason."""
        try:
            with connection.begin_nested():
                changed, bad = self._source.apply(connection, span)
                connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
                return changed, bad
        except DBAPIError as error:
            if not is_bad_data(error):
                raise
            return 0, {position: words(error)}

    def _refuse_too_many(self, standing: BackfillState, bad: dict[int, str]) -> None:
        if bad and standing.rows_skipped > self._backfill.max_bad_rows:
            position, reason = next(iter(bad.items()))
            row = f"row {position} of {self._backfill.csv.file}" if self._backfill.csv else f"row {position}"
            raise SlipwayError(
                f"{self._backfill.table}, {row}: {reason}. "
                f"That makes {standing.rows_skipped} bad rows; {_how_far(standing)}.",
                expected=f"At most {self._backfill.max_bad_rows} (max_bad_rows). What is done stays done.",
                retry_is_safe=True,
            )

    def _moved(self, connection: Connection, statement: TextClause, values: dict[str, int]) -> BackfillState:
        moved = _standing(connection.execute(statement, {"name": self._name, **values}).one_or_none())
        if moved is None:
            raise Unavailable(f"Another process is at backfill {self._name}.", expected="One at a time.")
        return moved

    @contextmanager
    def _transaction(self, statement_s: float | None = None) -> Iterator[Connection]:
        with self._begun() as connection:
            connection.execute(sql.LIMITS, self._limits(statement_s))
            yield connection

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        with told(self._name), self._engine.begin() as connection:
            self._driver = connection.connection.driver_connection
            yield connection

    def _limits(self, statement_s: float | None = None) -> dict[str, str]:
        batch = self._backfill.batch
        return {
            "statement": f"{(statement_s or batch.statement_timeout_s) * 1_000:.0f}ms",
            "lock": f"{batch.lock_timeout_s * 1_000:.0f}ms",
        }


def application_name(name: str) -> str:
    """What the backfill calls itself in pg_stat_activity."""
    return f"slipway backfill {name}"[:63]


def standing_of(database: PostgreSQL, name: str) -> BackfillState | None:
    """Where a backfill stands, or None when the database knows none of that name. Raises Unavailable."""
    engine = create_engine(database.url.set(drivername=DRIVER))
    try:
        with told(name), engine.connect() as connection:
            if connection.execute(text("SELECT to_regclass('slipway_backfill')")).scalar_one() is None:
                return None
            return _standing(connection.execute(sql.LOOK, {"name": name}).one_or_none())
    finally:
        engine.dispose()


def gate_fault(standing: BackfillState | None, digest: str) -> str:
    """Why a change that requires a backfill must wait; empty when the backfill has done every row of this file."""
    if standing is None:
        return "has not begun"
    if standing.digest != digest:
        return "was run with another file"
    if standing.finished_at is None:
        return f"is not finished: {_how_far(standing)}"
    return f"skipped {standing.rows_skipped:,} rows" if standing.rows_skipped else ""


def _standing(row: Row[Any] | None) -> BackfillState | None:
    return None if row is None else BackfillState(*row)


def _how_far(standing: BackfillState) -> str:
    about = "" if standing.total_is_exact else "about "
    return f"{standing.rows_passed:,} of {about}{standing.total:,} rows are done"
