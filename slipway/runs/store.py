"""Slipway's own store: the service locks of the runs, and the outcome of each step of a run.

The store is a small database next to Prefect's own. Every method is one transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, Executable, bindparam, create_engine, delete, event, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import InterfaceError, InvalidatePoolError, OperationalError, ProgrammingError

from slipway.core.errors import InvalidInput, Unavailable
from slipway.core.frozen import FrozenModel
from slipway.runs import account_tables as _access_tables  # noqa: F401 - so that create_tables creates them
from slipway.runs.pipelining import receive, send
from slipway.runs.tables import holds, metadata, outcomes

IDLE_S = 1.0  # a connection that was idle for longer is tested before it is used

_DRIVER = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_OUTCOME = (outcomes.c.step, outcomes.c.kind, outcomes.c.body, outcomes.c.at)
_INSERT = insert(outcomes).values({name: bindparam(name) for name in ("run_id", "step", "kind", "body")})
_SAVE = _INSERT.on_conflict_do_update(
    index_elements=["run_id", "step"],
    set_={"kind": _INSERT.excluded.kind, "body": _INSERT.excluded.body, "at": func.now()},
).compile(dialect=postgresql.dialect(paramstyle="numeric_dollar"))  # type: ignore[no-untyped-call]


class Hold(FrozenModel):
    """A service lock: which run holds the service, for which change, and since when."""

    service: str
    run_id: str
    change: str
    since: datetime


class Outcome(FrozenModel):
    """The outcome of one step of a run; `kind` names the type of `body`."""

    step: str
    kind: str
    body: Any
    at: datetime


class Store:
    """The store at one URL (as SQLAlchemy takes it, with the driver). Connects on first use.

    Every method raises Unavailable if the database does not answer.
    """

    def __init__(self, url: str, *, connections: int = 2) -> None:
        if not url:
            raise InvalidInput(
                "The URL of Slipway's own database is not set.",
                expected="SLIPWAY_DATABASE_URL is set (`make up` sets it).",
            )
        self._engine = create_engine(url, pool_size=connections)
        _test_idle_connections(self._engine)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def create_tables(self) -> None:
        """Create the missing tables. Safe to repeat."""
        with self.transaction() as connection:
            metadata.create_all(connection)

    def ping(self) -> None:
        """Raise Unavailable if the store does not answer."""
        with self.transaction() as connection:
            connection.execute(select(1))

    def acquire(self, service: str, run_id: str, change: str) -> Hold:
        """Acquire the service lock unless another run has it. Return the lock in force, of this run or the other."""
        row = insert(holds).values(service=service, run_id=run_id, change=change)
        # The update changes nothing, but RETURNING returns only touched rows. A second query could miss the row.
        upsert = row.on_conflict_do_update(index_elements=["service"], set_={"service": row.excluded.service})
        with self.transaction() as connection:
            hold = connection.execute(upsert.returning(holds)).mappings().one()
        return Hold.model_validate(dict(hold))

    def hold_of(self, service: str) -> Hold | None:
        """Return the service lock, or None."""
        with self.transaction() as connection:
            row = connection.execute(select(holds).where(holds.c.service == service)).mappings().one_or_none()
        return None if row is None else Hold.model_validate(dict(row))

    def release(self, service: str, run_id: str) -> bool:
        """Release the service lock if `run_id` has it. Return False if it does not. Safe to repeat."""
        statement = delete(holds).where(holds.c.service == service, holds.c.run_id == run_id)
        with self.transaction() as connection:
            return connection.execute(statement).rowcount == 1

    def save(self, run_id: str, step: str, kind: str, body: Any) -> None:
        """Save the outcome of a step (any JSON value). A repeat replaces it."""
        with self.saving(run_id, step, kind, body):
            pass

    @contextmanager
    def saving(self, run_id: str, step: str, kind: str, body: Any) -> Iterator[None]:
        """Save as `save` does, while the block runs; the outcome is saved after the block.

        Every step pays for this, so it is one round trip.
        """
        values = {"run_id": run_id, "step": step, "kind": kind, "body": json.dumps(body)}
        ordered = [values[name] for name in _SAVE.positiontup or ()]
        with self._driver() as driver:
            send(driver, str(_SAVE), ordered)
            yield
            receive(driver)

    def outcome_of(self, run_id: str, step: str) -> Outcome | None:
        """Return the outcome of one step of a run, or None."""
        query = select(*_OUTCOME).where(outcomes.c.run_id == run_id, outcomes.c.step == step)
        with self.statement() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Outcome.model_validate(dict(row))

    def outcomes_of(self, run_id: str) -> list[Outcome]:
        """Return all outcomes of a run, the oldest first."""
        with self.transaction() as connection:
            rows = connection.execute(select(*_OUTCOME).where(outcomes.c.run_id == run_id).order_by(outcomes.c.at))
            return [Outcome.model_validate(dict(row)) for row in rows.mappings()]

    def outcome_times(self, run_ids: Collection[str]) -> dict[str, dict[str, datetime]]:
        """Return for each run the steps that have an outcome, with the time of the outcome, the oldest first."""
        query = select(outcomes.c.run_id, outcomes.c.step, outcomes.c.at).where(outcomes.c.run_id.in_(run_ids))
        times: dict[str, dict[str, datetime]] = {run_id: {} for run_id in run_ids}
        with self.statement() as connection:
            for row in connection.execute(query.order_by(outcomes.c.at)):
                times[row.run_id][row.step] = row.at
        return times

    def outcomes_by(self, run_id: str, steps: Collection[str]) -> list[Outcome]:
        """Return the outcomes of these steps of a run, the oldest first. The samples of one window may be megabytes."""
        query = select(*_OUTCOME).where(outcomes.c.run_id == run_id, outcomes.c.step.in_(steps))
        with self.statement() as connection:
            rows = connection.execute(query.order_by(outcomes.c.at)).mappings()
            return [Outcome.model_validate(dict(row)) for row in rows]

    def fetch(self, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run one statement that `compiled` has compiled, outside a transaction, and return its rows. Raises as `statement`.

        For statements that run in every request: compiling one again would cost as much as running it.
        """
        with self._driver() as driver, driver.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def locked(self, name: str, within_s: float) -> Iterator[Connection]:
        """Hold the advisory lock `name` in this block, and yield its connection. Raises Unavailable after `within_s` seconds.

        A process that dies releases the lock, because its connection ends.
        """
        key = func.hashtextextended(name, 0)
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"SET lock_timeout = '{int(within_s * 1_000)}ms'")
                connection.execute(select(func.pg_advisory_lock(key)))
                try:
                    yield connection
                finally:
                    with suppress(OperationalError, InterfaceError):  # the connection is gone, and the lock with it
                        connection.execute(select(func.pg_advisory_unlock(key)))
        except (OperationalError, InterfaceError) as error:
            raise Unavailable(
                f"Could not acquire the lock {name!r} of Slipway's own database: {type(error).__name__}.",
                expected=f"The lock is free within {within_s:g} s. An earlier attempt may still be running.",
            ) from None

    @contextmanager
    def _driver(self) -> Iterator[psycopg.Connection[Any]]:
        """Yield the driver's own connection for single statements. After an error, the connection is not used again."""
        with _translated_errors(), self._autocommit.connect() as connection:
            try:
                yield cast("psycopg.Connection[Any]", connection.connection.driver_connection)
            except psycopg.Error:
                connection.invalidate()
                raise

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Yield a connection for one statement without a transaction: one round trip, not three. Raises as `transaction`."""
        with _translated_errors(), self._autocommit.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction. Raises Unavailable if the database does not answer."""
        with _translated_errors(), self._engine.begin() as connection:
            yield connection


def compiled(statement: Executable) -> str:
    """Return a statement as SQL for the driver, with a placeholder for each `bindparam`."""
    return str(statement.compile(dialect=_DRIVER))  # type: ignore[attr-defined]


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Convert the errors of a database that does not answer into Unavailable."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, ProgrammingError) as error:
        if not isinstance(getattr(error, "orig", error), psycopg.errors.UndefinedTable):
            raise
        raise Unavailable(
            "A table is missing in Slipway's own database: the database has an older version.",
            expected="The current tables. Run `slipway access people` once to create the missing tables.",
        ) from None
    except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
        raise Unavailable(
            f"Slipway's own database does not answer: {type(error).__name__}.", expected="The database answers."
        ) from None


def _test_idle_connections(engine: Engine) -> None:
    """Test idle connections, as `pool_pre_ping` does, but not a recently used one: a busy step would pay for each test."""

    @event.listens_for(engine, "checkin")
    def _record_use(connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _test_idle(connection: Any, record: Any, proxy: Any) -> None:
        used = record.info.get("used")
        if used is None or time.monotonic() - used < IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise InvalidatePoolError from None  # makes the pool connect again
