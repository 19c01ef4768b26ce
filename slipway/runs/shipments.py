"""What came of each run that shipped a change or rolled one back, in Slipway's store."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert

from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import shipments


class Shipment(FrozenModel):
    """What came of a run on a service, with what it ran: by these a change is known again on another service."""

    run_id: str
    service: str
    change: str
    digest: str  # SHA-256 of the change file
    sql_digest: str  # SHA-256 of the migration's SQL; empty for a roll back, which does not read it
    commands: dict[str, list[str]]  # by which the service migrates, each by its purpose, with its placeholders
    came_of_it: Literal["kept", "rolled back"]
    at: datetime


class Shipments:
    """The shipments of all services. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, shipment: Shipment) -> None:
        """Remember what came of a run; a repeat leaves the first note."""
        put = insert(shipments).values(**shipment.model_dump()).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(put)

    def of(self, service: str, change: str) -> list[Shipment]:
        """Those of one change on one service, the oldest first."""
        return self._found(shipments.c.service == service, shipments.c.change == change)

    def of_service(self, service: str) -> list[Shipment]:
        """Those of a service, the oldest first."""
        return self._found(shipments.c.service == service)

    def _found(self, *where: ColumnElement[bool]) -> list[Shipment]:
        wanted = select(shipments).where(*where)
        with self._store.transaction() as connection:
            rows = connection.execute(wanted.order_by(shipments.c.at)).mappings()
            return [Shipment.model_validate(dict(row)) for row in rows]
