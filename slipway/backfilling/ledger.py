"""The progress of a backfill in the service's own database. Each batch changes its rows and the cursor in one transaction.

A transaction moves the cursor only if the cursor still has the value that this process read. So if two processes run the
same batch, one commits and the other rolls back. A process that is killed at any time leaves rows and cursor as they were
before or after its last batch.
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
from slipway.backfilling.errors import TimedOut, first_line, is_bad_data, translate_errors
from slipway.backfilling.sources import KEY, Edge, Source, Span, key_error, quoted
from slipway.config.backfill import Backfill
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.databases.database import DRIVER
from slipway.databases.postgresql.database import PostgreSQL

COUNTED_UP_TO = 200_000  # rows
COUNT_WITHIN_S = 5


class BackfillState(NamedTuple):
    """The progress of a backfill: its row in the service's database."""

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
    """The single connection of a backfill to the service's database. Use as a context manager.

    Methods raise Unavailable if the database does not answer, and SlipwayError for an error that a retry does not fix.
    """

    def __init__(self, database: PostgreSQL, name: str, backfill: Backfill, source: Source) -> None:
        self._name, self._backfill, self._source = name, backfill, source
        connect_args = {"application_name": application_name(name), "prepare_threshold": None}
        self._engine = create_engine(
            database.url.set(drivername=DRIVER), connect_args=connect_args, poolclass=StaticPool
        )
        self._edge = sql.edge_query(source.edge_sql)
        self._batch = (
            self._compile(text(sql.whole_batch(source.edge_sql, source.change_sql))) if source.change_sql else None
        )
        self._compiled_limits = self._compile(sql.LIMITS)
        self._driver: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def cancel(self) -> None:
        """Cancel the running statement, if any. Call this from another thread."""
        driver = self._driver
        if driver is not None:
            with suppress(Exception):  # the statement or the connection has just ended
                driver.cancel()

    def check(self) -> None:
        """Check that the key and the statement are valid for the table, without running the statement. Raises InvalidInput."""
        names = {"table": quoted(self._backfill.table), "key": self._backfill.key}
        with self._transaction() as connection:
            error = key_error(connection.execute(KEY, names).one_or_none(), self._backfill.table, self._backfill.key)
            if error:
                raise InvalidInput(error, expected="A column of integers that is unique and NOT NULL.")
            self._source.check(connection)

    def begin(self, digest: str) -> BackfillState:
        """Return the state. A new backfill gets its fixed bounds here. Raises InvalidInput if the backfill file has changed."""
        self._create_tables()
        with self._transaction() as connection:
            state = _to_state(connection.execute(sql.SELECT_STATE, {"name": self._name}).one_or_none())
        if state is None:
            state = self._insert_state(digest)
        if state.digest != digest:
            raise InvalidInput(
                f"The backfill {self._name} was started with a different file: {_format_progress(state)}.",
                expected="The original file. A different backfill needs another name.",
            )
        return state

    def advance(self, state: BackfillState, limit: int) -> tuple[BackfillState, dict[int, str]]:
        """Run one batch of at most `limit` rows in one transaction. Return the new state and the bad rows that were skipped.

        If the database rejects a batch of one row, the row is skipped. Raises TimedOut, Refused for more than one row, and
        Unavailable if another process has moved the cursor. After an error, nothing of this batch was changed.
        """
        span = Span(state.cursor, state.upper)
        if self._batch is not None and limit > 1:
            new_state = self._advance_in_one_statement(self._batch, span, limit)
            if new_state is not None:
                return new_state, {}
        with self._connection() as connection:
            parameters = {**self._source.edge_parameters(span, limit), **self._limits()}
            last, rows = connection.execute(self._edge, parameters).one()
            if last is None:
                return self._update_cursor(connection, sql.FINISH, {"after": state.cursor}), {}
            return self._apply_batch(connection, span, Edge(last, rows))

    def skipped(self) -> dict[int, str]:
        """Return the skipped rows with their reasons."""
        with self._transaction() as connection:
            return {row.position: row.reason for row in connection.execute(sql.SKIPPED, {"name": self._name})}

    def retry_skipped(self, position: int) -> None:
        """Retry a skipped row. If the row is still bad, it stays skipped with its newest reason."""
        where = {"name": self._name, "position": position}
        with self._transaction() as connection:
            if connection.execute(sql.UNSKIP, where).rowcount == 0:  # another process has retried it; DELETE waits
                return
            changed, bad = self._apply_single_row(connection, Span(position - 1, position), position)
            if bad:
                connection.execute(sql.SKIP, {**where, "reason": bad[position]})
            else:
                connection.execute(sql.COUNT_RETRIED, {"name": self._name, "changed": changed})

    @contextmanager
    def health_connection(self) -> Iterator[Connection]:
        """Yield the connection between two batches, to read the database's health."""
        with self._transaction() as connection:
            yield connection

    def _advance_in_one_statement(self, batch: bytes, span: Span, limit: int) -> BackfillState | None:
        """Run a batch with its COMMIT in one round trip. Return None if there was nothing to do, for any reason.

        The time limits are a separate statement, because they only apply to later statements.
        """
        parameters = {**self._source.edge_parameters(span, limit), "name": self._name}
        with self._connection() as connection:
            driver = cast(psycopg.Connection, connection.connection.driver_connection)
            with driver.pipeline():
                driver.execute(self._compiled_limits, self._limits())
                result = driver.execute(batch, parameters)
                driver.commit()
            row = result.fetchone()
        return None if row is None else BackfillState(*row)

    def _compile(self, statement: TextClause) -> bytes:
        """Return the statement with psycopg's placeholders."""
        return str(statement.compile(dialect=self._engine.dialect)).encode()

    def _create_tables(self) -> None:
        """Create missing tables. For a role without the right to create tables, another role can create them first."""
        with self._transaction() as connection:
            if not connection.execute(sql.HAS_TABLES).scalar_one():
                connection.execute(sql.LOCK_CREATION)
                for statement in sql.TABLES:
                    connection.execute(text(statement))

    def _insert_state(self, digest: str) -> BackfillState:
        with self._transaction() as connection:
            span = self._source.span(connection) or Span(0, 0)
        total, exact = self._total(span)
        values = {"name": self._name, "digest": digest, **span._asdict(), "total": total, "exact": exact}
        with self._transaction() as connection:
            connection.execute(sql.BEGIN, values)
            state = _to_state(connection.execute(sql.SELECT_STATE, {"name": self._name}).one())
        assert state is not None
        return state

    def _total(self, span: Span) -> tuple[int, bool]:
        """Return the number of rows, and whether it is exact. Large tables are estimated: a count reads the whole table."""
        with self._transaction() as connection:
            estimate = self._source.estimate(connection, span)
        if estimate > COUNTED_UP_TO:
            return estimate, False
        try:  # without statistics, the planner underestimates a large table
            with self._transaction(COUNT_WITHIN_S) as connection:
                return self._source.count(connection, span), True
        except TimedOut:
            return estimate, False

    def _apply_batch(self, connection: Connection, span: Span, edge: Edge) -> tuple[BackfillState, dict[int, str]]:
        batch = Span(span.after, edge.last)
        if edge.rows == 1:
            changed, bad = self._apply_single_row(connection, batch, edge.last)
        else:
            changed, bad = self._source.apply(connection, batch)
        for position, reason in bad.items():
            connection.execute(sql.SKIP, {"name": self._name, "position": position, "reason": reason})
        values = {
            "after": span.after,
            "cursor": edge.last,
            "passed": edge.rows,
            "changed": changed,
            "skipped": len(bad),
        }
        state = self._update_cursor(connection, sql.ADVANCE, values)
        self._check_bad_rows(state, bad)
        return state, bad

    def _apply_single_row(self, connection: Connection, span: Span, position: int) -> tuple[int, dict[int, str]]:
        """Change one row. If the database rejects it (also by a deferred constraint), the error is the reason."""
        try:
            with connection.begin_nested():
                changed, bad = self._source.apply(connection, span)
                connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
                return changed, bad
        except DBAPIError as error:
            if not is_bad_data(error):
                raise
            return 0, {position: first_line(error)}

    def _check_bad_rows(self, state: BackfillState, bad: dict[int, str]) -> None:
        if bad and state.rows_skipped > self._backfill.max_bad_rows:
            position, reason = next(iter(bad.items()))
            row = f"row {position} of {self._backfill.csv.file}" if self._backfill.csv else f"row {position}"
            raise SlipwayError(
                f"{self._backfill.table}, {row}: {reason}. "
                f"There are now {state.rows_skipped} bad rows; {_format_progress(state)}.",
                expected=f"No more bad rows than max_bad_rows = {self._backfill.max_bad_rows}. Finished batches are kept.",
                retry_is_safe=True,
            )

    def _update_cursor(self, connection: Connection, statement: TextClause, values: dict[str, int]) -> BackfillState:
        state = _to_state(connection.execute(statement, {"name": self._name, **values}).one_or_none())
        if state is None:
            raise Unavailable(
                f"Another process is running backfill {self._name}.", expected="One process at a time runs a backfill."
            )
        return state

    @contextmanager
    def _transaction(self, statement_s: float | None = None) -> Iterator[Connection]:
        with self._connection() as connection:
            connection.execute(sql.LIMITS, self._limits(statement_s))
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with translate_errors(self._name), self._engine.begin() as connection:
            self._driver = connection.connection.driver_connection
            yield connection

    def _limits(self, statement_s: float | None = None) -> dict[str, str]:
        batch = self._backfill.batch
        return {
            "statement": f"{(statement_s or batch.statement_timeout_s) * 1_000:.0f}ms",
            "lock": f"{batch.lock_timeout_s * 1_000:.0f}ms",
        }


def application_name(name: str) -> str:
    """Return the application name of the backfill in pg_stat_activity."""
    return f"slipway backfill {name}"[:63]


def read_state(database: PostgreSQL, name: str) -> BackfillState | None:
    """Return the state of a backfill, or None if it has not started. Raises Unavailable."""
    engine = create_engine(database.url.set(drivername=DRIVER))
    try:
        with translate_errors(name), engine.connect() as connection:
            if connection.execute(text("SELECT to_regclass('slipway_backfill')")).scalar_one() is None:
                return None
            return _to_state(connection.execute(sql.SELECT_STATE, {"name": name}).one_or_none())
    finally:
        engine.dispose()


def reason_incomplete(state: BackfillState | None, digest: str) -> str:
    """Return why a required backfill is not complete, or an empty text if it has changed every row with this file."""
    if state is None:
        return "has not started"
    if state.digest != digest:
        return "was run with a different file"
    if state.finished_at is None:
        return f"is not finished: {_format_progress(state)}"
    return f"skipped {state.rows_skipped:,} rows" if state.rows_skipped else ""


def _to_state(row: Row[Any] | None) -> BackfillState | None:
    return None if row is None else BackfillState(*row)


def _format_progress(state: BackfillState) -> str:
    about = "" if state.total_is_exact else "about "
    return f"{state.rows_passed:,} of {about}{state.total:,} rows are done"
