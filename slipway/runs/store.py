"""Slipway's own store: which run holds which service, and what each step of a run left behind.

One small database beside Prefect's own. Every method is one transaction.
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
from slipway.runs import account_tables as _access_tables  # noqa: F401 - so that create_tables makes them
from slipway.runs.pipelining import receive, send
from slipway.runs.tables import holds, metadata, outcomes

IDLE_S = 1.0  # a connection that was unused for longer is tried before it is trusted

_DRIVER = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_OUTCOME = (outcomes.c.step, outcomes.c.kind, outcomes.c.body, outcomes.c.at)
_PUT = insert(outcomes).values({name: bindparam(name) for name in ("run_id", "step", "kind", "body")})
_KEEP = _PUT.on_conflict_do_update(
    index_elements=["run_id", "step"],
    set_={"kind": _PUT.excluded.kind, "body": _PUT.excluded.body, "at": func.now()},
).compile(dialect=postgresql.dialect(paramstyle="numeric_dollar"))  # type: ignore[no-untyped-call]


class Hold(FrozenModel):
    """Which run holds a service, for which change, since when."""

    service: str
    run_id: str
    change: str
    since: datetime


class Outcome(FrozenModel):
    """What one step of a run left behind: `kind` names the type of `body`."""

    step: str
    kind: str
    body: Any
    at: datetime


class Store:
    """The store at one URL (SQLAlchemy form, with the driver). Connects on first use.

    Every method raises Unavailable when the database does not answer.
    """

    def __init__(self, url: str, *, connections: int = 2) -> None:
        if not url:
            raise InvalidInput(
                "Slipway's own database is not known.", expected="SLIPWAY_DATABASE_URL set (`make up` sets it)."
            )
        self._engine = create_engine(url, pool_size=connections)
        _try_idle_connections(self._engine)
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def create_tables(self) -> None:
        """Make what is missing; safe to repeat."""
        with self.transaction() as connection:
            metadata.create_all(connection)

    def ping(self) -> None:
        """Raise Unavailable when the store does not answer."""
        with self.transaction() as connection:
            connection.execute(select(1))

    def acquire(self, service: str, run_id: str, change: str) -> Hold:
        """Take the hold of a service unless another run has it; the answer is the hold in force, ours or the other's."""
        row = insert(holds).values(service=service, run_id=run_id, change=change)
        # An update that changes nothing, as only a touched row is returned: a second look could find it gone.
        take = row.on_conflict_do_update(index_elements=["service"], set_={"service": row.excluded.service})
        with self.transaction() as connection:
            taken = connection.execute(take.returning(holds)).mappings().one()
        return Hold.model_validate(dict(taken))

    def hold_of(self, service: str) -> Hold | None:
        """The hold of a service, or None."""
        with self.transaction() as connection:
            row = connection.execute(select(holds).where(holds.c.service == service)).mappings().one_or_none()
        return None if row is None else Hold.model_validate(dict(row))

    def release(self, service: str, run_id: str) -> bool:
        """Give up the hold of a service if `run_id` has it; false when it did not. Safe to repeat."""
        gone = delete(holds).where(holds.c.service == service, holds.c.run_id == run_id)
        with self.transaction() as connection:
            return connection.execute(gone).rowcount == 1

    def keep(self, run_id: str, step: str, kind: str, body: Any) -> None:
        """Keep what a step left behind (anything that JSON can say); a repeat replaces it."""
        with self.keeping(run_id, step, kind, body):
            pass

    @contextmanager
    def keeping(self, run_id: str, step: str, kind: str, body: Any) -> Iterator[None]:
        """As `keep`, under way while the block runs, and kept behind it. Every step pays for this: it is one round trip."""
        values = {"run_id": run_id, "step": step, "kind": kind, "body": json.dumps(body)}
        given = [values[name] for name in _KEEP.positiontup or ()]
        with self._driver() as driver:
            send(driver, str(_KEEP), given)
            yield
            receive(driver)

    def outcome_of(self, run_id: str, step: str) -> Outcome | None:
        """What one step of a run left behind, or None."""
        wanted = select(*_OUTCOME).where(outcomes.c.run_id == run_id, outcomes.c.step == step)
        with self.statement() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else Outcome.model_validate(dict(row))

    def outcomes_of(self, run_id: str) -> list[Outcome]:
        """All that a run left behind, oldest first."""
        with self.transaction() as connection:
            rows = connection.execute(select(*_OUTCOME).where(outcomes.c.run_id == run_id).order_by(outcomes.c.at))
            return [Outcome.model_validate(dict(row)) for row in rows.mappings()]

    def marks_of(self, run_ids: Collection[str]) -> dict[str, dict[str, datetime]]:
        """The steps of each of these runs that left something behind, each with when it did, oldest first."""
        wanted = select(outcomes.c.run_id, outcomes.c.step, outcomes.c.at).where(outcomes.c.run_id.in_(run_ids))
        found: dict[str, dict[str, datetime]] = {run_id: {} for run_id in run_ids}
        with self.statement() as connection:
            for row in connection.execute(wanted.order_by(outcomes.c.at)):
                found[row.run_id][row.step] = row.at
        return found

    def outcomes_by(self, run_id: str, steps: Collection[str]) -> list[Outcome]:
        """What these steps of a run left behind, oldest first; a window's samples alone may be megabytes."""
        wanted = select(*_OUTCOME).where(outcomes.c.run_id == run_id, outcomes.c.step.in_(steps))
        with self.statement() as connection:
            rows = connection.execute(wanted.order_by(outcomes.c.at)).mappings()
            return [Outcome.model_validate(dict(row)) for row in rows]

    def ask(self, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of one statement that was made by `plain`, by itself. Raises as `statement` does.

        For what stands before every answer: compiling it anew would cost as much again as asking.
        """
        with self._driver() as driver, driver.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def locked(self, name: str, within_s: float) -> Iterator[Connection]:
        """A connection that has the advisory lock `name` as long as it lives. Raises Unavailable when it is not got in time.

        Whoever dies gives it up, as its connection ends.
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
                f"The lock {name!r} of Slipway's own database was not to be had: {type(error).__name__}.",
                expected=f"It within {within_s:g} s; an earlier attempt may still be at work.",
            ) from None

    @contextmanager
    def _driver(self) -> Iterator[psycopg.Connection[Any]]:
        """The driver's own connection, for single statements; after an error of its own it is not used again."""
        with _answering(), self._single.connect() as connection:
            try:
                yield cast("psycopg.Connection[Any]", connection.connection.driver_connection)
            except psycopg.Error:
                connection.invalidate()
                raise

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """For one statement, which needs no transaction around it: one round trip instead of three. Raises as that."""
        with _answering(), self._single.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction of this store. Raises Unavailable when the database does not answer."""
        with _answering(), self._engine.begin() as connection:
            yield connection


def plain(statement: Executable) -> str:
    """A statement as the driver takes it, with a value for each `bindparam` of it."""
    return str(statement.compile(dialect=_DRIVER))  # type: ignore[attr-defined]


@contextmanager
def _answering() -> Iterator[None]:
    """What SQLAlchemy raises when the database is away, as Unavailable."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, ProgrammingError) as error:
        if not isinstance(getattr(error, "orig", error), psycopg.errors.UndefinedTable):
            raise
        raise Unavailable(
            "Slipway's own database is of an older version.",
            expected="`slipway access people` once: it makes what is missing.",
        ) from None
    except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
        raise Unavailable(
            f"Slipway's own database does not answer: {type(error).__name__}.", expected="A database that answers."
        ) from None


def _try_idle_connections(engine: Engine) -> None:
    """As `pool_pre_ping`, but not for a connection that has just answered: a busy step would pay for it each time."""

    @event.listens_for(engine, "checkin")
    def _used(connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _try(connection: Any, record: Any, proxy: Any) -> None:
        used = record.info.get("used")
        if used is None or time.monotonic() - used < IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise InvalidatePoolError from None  # the pool connects anew
