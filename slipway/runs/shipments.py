"""The outcomes of runs that shipped a change or rolled it back, in Slipway's store."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert

from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import shipments


class Shipment(FrozenModel):
    """The outcome of a run on a service, with digests and commands that identify the same change on another service."""

    run_id: str
    service: str
    change: str
    digest: str  # SHA-256 of the change file
    sql_digest: str  # SHA-256 of the migration's SQL; empty for a rollback, which does not read the SQL
    commands: dict[str, list[str]]  # the service's migration commands by purpose, with placeholders
    came_of_it: Literal["kept", "rolled back"]
    at: datetime


class Shipments:
    """The shipments of all services. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, shipment: Shipment) -> None:
        """Store the outcome of a run. A repeat keeps the first one."""
        row = insert(shipments).values(**shipment.model_dump()).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(row)

    def for_change(self, service: str, change: str) -> list[Shipment]:
        """Return the shipments of one change on one service, the oldest first."""
        return self._select(shipments.c.service == service, shipments.c.change == change)

    def for_service(self, service: str) -> list[Shipment]:
        """Return the shipments of a service, the oldest first."""
        return self._select(shipments.c.service == service)

    def _select(self, *where: ColumnElement[bool]) -> list[Shipment]:
        query = select(shipments).where(*where)
        with self._store.transaction() as connection:
            rows = connection.execute(query.order_by(shipments.c.at)).mappings()
            return [Shipment.model_validate(dict(row)) for row in rows]
