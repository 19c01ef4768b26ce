"""Add the measurements of a run to the history, and compare them with earlier measurements."""

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
SAMPLES_KEPT_FOR = timedelta(days=14)  # for raw samples of scheduled measurements
MEASURE_STEP = "measure service"  # the step that stores these samples


def update_history(
    service: Service, run_id: str, window: MeasuredWindow, history: History, shipments: Shipments
) -> Trend:
    """Add a window to the history, delete expired points, and draw the last 30 days. Raise Unavailable."""
    history.add(service.name, points_of(run_id, window))
    now = datetime.now(UTC)
    points = history.points(service.name)
    history.delete_points(expired(points, lambda point: (now - point.at).total_seconds()))
    history.delete_samples(MEASURE_STEP, now - SAMPLES_KEPT_FOR)
    recent = [point for point in points if point.at >= now - SHOWN_FOR]
    trend = trend_of(service.name, recent, shipments)
    return trend.model_copy(update={"picture_svg": trend_svg(recent, trend)})


def trend_of(service: str, points: list[Point], shipments: Shipments) -> Trend:
    """Return every series of these points, and the changes since the oldest point. Raise Unavailable."""
    marks = tuple(
        Mark(at=shipment.at, change=shipment.change, came_of_it=shipment.came_of_it)
        for shipment in shipments.for_service(service)
    )
    since = min((point.at for point in points), default=None)
    shown = tuple(mark for mark in marks if since is not None and mark.at >= since)
    return Trend(service=service, series=series_of(points, marks), marks=shown)


def points_of(run_id: str, window: MeasuredWindow) -> list[Point]:
    """Return the points of a window."""
    return [
        Point(
            run_id=run_id,
            at=datetime.fromisoformat(window.started_at),
            route=summary.target.route,
            identity=summary.target.identity,
            cache=summary.cache,
            samples=summary.samples,
            errors=summary.errors,
            median_ms=summary.median_ms,
            p90_ms=summary.p90_ms,
        )
        for summary in summarise(window)
    ]
