"""Slipway's own store: which run holds which service, and what each step of a run left behind.

One small database beside Prefect's own. Every method is one transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column as Col
from sqlalchemy import DateTime, MetaData, String, Table, create_engine, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import SQLAlchemyError

from slipway.errors import InvalidInput, Unavailable
from slipway.service import Noun

metadata = MetaData()

holds = Table(
    "hold",
    metadata,
    Col("service", String, primary_key=True),
    Col("run_id", String, nullable=False),
    Col("change", String, nullable=False),
    Col("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

outcomes = Table(
    "outcome",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("step", String, primary_key=True),
    Col("kind", String, nullable=False),
    Col("body", JSONB, nullable=False),
    Col("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


class Hold(Noun):
    """Which run holds a service, for which change, since when."""

    service: str
    run_id: str
    change: str
    since: datetime


class Outcome(Noun):
    """What one step of a run left behind: `kind` names the type of `body`."""

    step: str
    kind: str
    body: Any
    at: datetime


class Store:
    """The store at one URL (SQLAlchemy form, with the driver). Connects on first use."""

    def __init__(self, url: str) -> None:
        if not url:
            raise InvalidInput(
                "Slipway's own database is not known.", expected="SLIPWAY_DATABASE_URL set (`make up` sets it)."
            )
        self._engine = create_engine(url, pool_pre_ping=True, pool_size=2)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def create_tables(self) -> None:
        """Make what is missing; safe to repeat."""
        metadata.create_all(self._engine)

    def ping(self) -> None:
        """Raise SlipwayError when the store does not answer."""
        try:
            with self._engine.connect() as connection:
                connection.execute(select(1))
        except SQLAlchemyError as error:
            raise Unavailable(
                f"Slipway's own database does not answer: {type(error).__name__}.", expected="A database that answers."
            ) from None

    def acquire(self, service: str, run_id: str, change: str) -> Hold:
        """Take the hold of a service unless another run has it; the answer is the hold in force, ours or the other's."""
        take = insert(holds).values(service=service, run_id=run_id, change=change).on_conflict_do_nothing()
        with self._engine.begin() as connection:
            connection.execute(take)
            row = connection.execute(select(holds).where(holds.c.service == service)).mappings().one()
        return Hold.model_validate(dict(row))

    def hold_of(self, service: str) -> Hold | None:
        """The hold of a service, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(select(holds).where(holds.c.service == service)).mappings().one_or_none()
        return None if row is None else Hold.model_validate(dict(row))

    def release(self, service: str, run_id: str) -> bool:
        """Give up the hold of a service if `run_id` has it; false when it did not. Safe to repeat."""
        gone = delete(holds).where(holds.c.service == service, holds.c.run_id == run_id)
        with self._engine.begin() as connection:
            return connection.execute(gone).rowcount == 1

    def keep(self, run_id: str, step: str, kind: str, body: Any) -> None:
        """Keep what a step left behind (anything that JSON can say); a repeat replaces it."""
        row = insert(outcomes).values(run_id=run_id, step=step, kind=kind, body=body)
        put = row.on_conflict_do_update(
            index_elements=["run_id", "step"],
            set_={"kind": row.excluded.kind, "body": row.excluded.body, "at": func.now()},
        )
        with self._engine.begin() as connection:
            connection.execute(put)

    def outcomes_of(self, run_id: str) -> list[Outcome]:
        """All that a run left behind, oldest first."""
        columns = (outcomes.c.step, outcomes.c.kind, outcomes.c.body, outcomes.c.at)
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).where(outcomes.c.run_id == run_id).order_by(outcomes.c.at))
            return [Outcome.model_validate(dict(row)) for row in rows.mappings()]
