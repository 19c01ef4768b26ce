"""History: add what a run has measured, and tell how the service does beside what it did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slipway.config.service import Service
from slipway.measurement.drift import expired, series_of
from slipway.measurement.history import Mark, Point, Trend
from slipway.measurement.history_chart import trend_svg
from slipway.measurement.history_store import History
from slipway.measurement.measure import summarise
from slipway.measurement.samples import MeasuredWindow
from slipway.runs.shipments import Shipments

SHOWN_FOR = timedelta(days=30)
SAMPLES_FOR = timedelta(days=14)  # how long the raw samples of scheduled measurements are kept
MEASURED_BY = "measure service"  # the step that leaves them


def remember(service: Service, run_id: str, window: MeasuredWindow, history: History, shipments: Shipments) -> Trend:
    """Add a window to the history, let go of what is too old, and draw the last 30 days. Raises Unavailable."""
    history.add(service.name, points_of(run_id, window))
    now = datetime.now(UTC)
    points = history.of(service.name)
    history.forget(expired(points, lambda point: (now - point.at).total_seconds()))
    history.forget_samples(MEASURED_BY, now - SAMPLES_FOR)
    recent = [point for point in points if point.at >= now - SHOWN_FOR]
    trend = trend_of(service.name, recent, shipments)
    return trend.model_copy(update={"picture_svg": trend_svg(recent, trend)})


def trend_of(service: str, points: list[Point], shipments: Shipments) -> Trend:
    """Every series of these points, and the changes beside them. Raises Unavailable."""
    marks = tuple(
        Mark(at=shipment.at, change=shipment.change, came_of_it=shipment.came_of_it)
        for shipment in shipments.of_service(service)
    )
    since = min((point.at for point in points), default=None)
    shown = tuple(mark for mark in marks if since is not None and mark.at >= since)
    return Trend(service=service, series=series_of(points, marks), marks=shown)


def points_of(run_id: str, window: MeasuredWindow) -> list[Point]:
    """A window's points."""
    return [
        Point(
            run_id=run_id,
            at=datetime.fromisoformat(window.started_at),
            route=line.target.route,
            identity=line.target.identity,
            cache=line.cache,
            samples=line.samples,
            errors=line.errors,
            median_ms=line.median_ms,
            p90_ms=line.p90_ms,
        )
        for line in summarise(window)
    ]
