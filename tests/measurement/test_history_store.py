"""Test the history of measurements on a real PostgreSQL, from a window to the chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from sqlalchemy import update

from slipway.config.service import Service
from slipway.measurement.history import Point
from slipway.measurement.history_store import History
from slipway.measurement.keep_history import MEASURE_STEP, update_history
from slipway.measurement.samples import MeasuredWindow, Measurement, Sample
from slipway.runs.shipments import Shipment, Shipments
from slipway.runs.store import Store
from slipway.runs.tables import outcomes

NOW = datetime.now(UTC)
SHOP = Service(name="shop", url="http://127.0.0.1:9", routes=("/*",))


def window(at: datetime, latency_ms: float, errors: int = 0) -> MeasuredWindow:
    """Return a window with one route and twenty requests."""
    samples = [Sample(0, number / 10, latency_ms, "timeout" if number < errors else "") for number in range(20)]
    measured = Measurement(route="/orders", identity="anonymous", cache="hit", samples=tuple(samples))
    return MeasuredWindow(started_at=at.isoformat(), seconds=2, bursts=1, requests=20, measurements=(measured,))


def test_repeated_window_replaces_its_points(store: Store) -> None:
    """A step that is repeated after a crash replaces its own points, and points of another service are not returned."""
    history, shipments = History(store), Shipments(store)
    update_history(SHOP, "run-1", window(NOW, 5.0), history, shipments)
    trend = update_history(SHOP, "run-1", window(NOW, 7.0, errors=2), history, shipments)
    [point] = history.points("shop")
    assert (point.median_ms, point.samples, point.errors, point.at) == (7.0, 18, 2, NOW)
    assert history.points("another") == [] and history.points("shop", NOW + timedelta(seconds=1)) == []
    assert trend.series[0].sentence == "/orders as anonymous (hit): no baseline yet, 1 window."


def test_drift_and_change_are_shown(store: Store) -> None:
    """The window with which a drift begins reports the drift, and the chart shows it and the change."""
    history, shipments = History(store), Shipments(store)
    for hours in range(40, 3, -1):
        history.add("shop", [point_at(NOW - timedelta(hours=hours), 5.0 + hours % 3 / 10)])
    shipped = Shipment(
        run_id="ship-1",
        service="shop",
        change="<faster> & $x$",
        digest="0" * 64,
        sql_digest="1" * 64,
        commands={},
        came_of_it="kept",
        at=NOW - timedelta(hours=38, minutes=30),
    )
    shipments.save(shipped)
    newly_drifted = [
        update_history(
            SHOP, f"run-{hours}", window(NOW - timedelta(hours=hours), 9.0), history, shipments
        ).newly_drifted
        for hours in (3, 2, 1)
    ]
    assert [len(series) for series in newly_drifted] == [0, 0, 1]
    assert newly_drifted[-1][0].sentence.startswith("/orders as anonymous (hit): slower than its baseline of 3")
    trend = update_history(SHOP, "run-0", window(NOW, 9.0), history, shipments)
    assert trend.series[0].drifted == "slower" and trend.newly_drifted == ()
    assert [mark.change for mark in trend.marks] == ["<faster> & $x$"]
    svg = ElementTree.fromstring(trend.picture_svg)
    assert svg.findtext("{http://www.w3.org/2000/svg}title") == "The history of shop"
    assert "slower than its baseline" in (svg.findtext("{http://www.w3.org/2000/svg}desc") or "")
    assert "&lt;faster&gt; &amp; $x$: kept" in trend.picture_svg


def test_old_points_and_samples_are_deleted(store: Store) -> None:
    """Points expire by age; raw samples of scheduled measurements are deleted after two weeks, those of a change are kept."""
    history = History(store)
    for days in (500, 100, 1):
        for minutes in (0, 1, 2):
            history.add("shop", [point_at(NOW - timedelta(days=days, minutes=minutes), 5.0 + minutes)])
    for run, step in (("old", MEASURE_STEP), ("new", MEASURE_STEP), ("ship", "measure before")):
        store.save(run, step, "MeasuredWindow", window(NOW, 5.0).model_dump(mode="json"))
    with store.transaction() as connection:
        connection.execute(update(outcomes).where(outcomes.c.run_id != "new").values(at=NOW - timedelta(days=15)))
    update_history(SHOP, "run-1", window(NOW, 5.0), history, Shipments(store))
    # 1 of day 100 (2 if midnight is between its points), 3 of yesterday, and the newest.
    assert len(history.points("shop")) in (5, 6)
    assert [bool(store.outcomes_of(run)) for run in ("old", "new", "ship")] == [False, True, True]


def test_window_without_a_successful_response(store: Store) -> None:
    """A window without a successful response gives a point without numbers, and an empty history gives a chart."""
    trend = update_history(SHOP, "run-1", window(NOW, 5.0, errors=20), History(store), Shipments(store))
    assert trend.series[0].newest_ms is None
    ElementTree.fromstring(trend.picture_svg)
    nothing = MeasuredWindow(started_at=NOW.isoformat(), seconds=2, bursts=1, requests=1, measurements=())
    other = SHOP.model_copy(update={"name": "other"})
    assert update_history(other, "run-2", nothing, History(store), Shipments(store)).series == ()


def point_at(at: datetime, median_ms: float) -> Point:
    """Return a point of the only route."""
    return Point(
        run_id=f"run at {at.isoformat()}",
        at=at,
        route="/orders",
        identity="anonymous",
        cache="hit",
        samples=20,
        errors=0,
        median_ms=median_ms,
        p90_ms=median_ms * 2,
    )
