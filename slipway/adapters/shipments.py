"""What came of each run that shipped a change or rolled one back, in Slipway's store."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert

from slipway.adapters.store import Store
from slipway.adapters.tables import shipments
from slipway.outcomes import Shipment


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
