"""The outcomes of runs that shipped changes, on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slipway.runs.shipments import Shipment, Shipments
from slipway.runs.store import Store

KEPT = Shipment(
    run_id="run-1",
    service="shop-staging",
    change="faster",
    digest="0" * 64,
    sql_digest="1" * 64,
    commands={"upgrade": ["alembic", "upgrade", "{to}"]},
    came_of_it="kept",
    at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
)


def test_shipments_are_found_by_service_and_change(store: Store) -> None:
    """Shipments are complete, and the oldest comes first."""
    shipments = Shipments(store)
    rolled_back = KEPT.model_copy(
        update={"run_id": "run-2", "came_of_it": "rolled back", "at": KEPT.at + timedelta(hours=1)}
    )
    for shipment in (rolled_back, KEPT, KEPT.model_copy(update={"run_id": "run-3", "service": "shop"})):
        shipments.save(shipment)
    assert shipments.for_change("shop-staging", "faster") == [KEPT, rolled_back]
    assert shipments.for_change("shop-staging", "slower") == []


def test_repeat_keeps_the_first_shipment(store: Store) -> None:
    """A step that is repeated after a crash does not change the stored shipment."""
    shipments = Shipments(store)
    shipments.save(KEPT)
    shipments.save(KEPT.model_copy(update={"at": KEPT.at + timedelta(hours=1)}))
    assert shipments.for_change("shop-staging", "faster") == [KEPT]
