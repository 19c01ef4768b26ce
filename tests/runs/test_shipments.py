"""What came of the runs that shipped changes, on a real PostgreSQL."""

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


def test_a_note_is_found_again(store: Store) -> None:
    """Whole, by its service and change, the oldest first."""
    shipments = Shipments(store)
    back = KEPT.model_copy(update={"run_id": "run-2", "came_of_it": "rolled back", "at": KEPT.at + timedelta(hours=1)})
    for noted in (back, KEPT, KEPT.model_copy(update={"run_id": "run-3", "service": "shop"})):
        shipments.note(noted)
    assert shipments.of("shop-staging", "faster") == [KEPT, back]
    assert shipments.of("shop-staging", "slower") == []


def test_a_repeat_leaves_the_first_note(store: Store) -> None:
    """A step that is repeated after a crash notes nothing new."""
    shipments = Shipments(store)
    shipments.note(KEPT)
    shipments.note(KEPT.model_copy(update={"at": KEPT.at + timedelta(hours=1)}))
    assert shipments.of("shop-staging", "faster") == [KEPT]
