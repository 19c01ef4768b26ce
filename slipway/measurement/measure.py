"""Measure the targets and controls of a change, or the routes listed under `watch` of a service."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable

from slipway.config.plan import Plan
from slipway.config.service import Service
from slipway.core.errors import InvalidInput
from slipway.core.frozen import RouteAs
from slipway.measurement import warm_up
from slipway.measurement.probe import Progress, measure
from slipway.measurement.samples import MeasuredWindow, Measurement, ServiceMeasured

logger = logging.getLogger("slipway.measure")


def measure_change(plan: Plan, progress: Progress | None = None, *, first: bool = False) -> MeasuredWindow:
    """Return one window over all targets and controls of a change. Raises the errors of `probe.measure`.

    `first` marks the first window of a run: if the service was cold, the window is discarded and measured again.
    """
    routes = []
    for pair in plan.change.pairs():
        routes.append(RouteAs(route=pair.route, identity=pair.identity))
        routes.append(RouteAs(route=pair.control_route, identity=pair.control_identity))

    def probe() -> MeasuredWindow:
        return measure(plan.service, routes, progress=progress)

    return _measure_warm(probe) if first else probe()


def measure_service(service: Service, progress: Progress | None = None) -> MeasuredWindow:
    """Return one window over the routes under `watch` of the service. Raise InvalidInput if there are none."""
    if not service.probe.watch:
        raise InvalidInput(
            f"Service {service.name} has no routes to measure.",
            expected="`watch` under [service.probe] in slipway.toml lists at least one route.",
        )
    return _measure_warm(lambda: measure(service, service.probe.watch, progress=progress))


def _measure_warm(probe: Callable[[], MeasuredWindow]) -> MeasuredWindow:
    """Return the first window, or a second one if the service was still warming up during the first.

    Only the first window of a run may be discarded. A window after a change is evidence and is always kept.
    """
    window = probe()
    reasons = warm_up.cold_routes(window)
    if not reasons:
        return window
    logger.warning("discarding the first window, because the service was still warming up: %s", "; ".join(reasons))
    return probe().model_copy(update={"discarded": reasons})


def summarise(window: MeasuredWindow) -> list[ServiceMeasured]:
    """Return one summary per route × identity × cache class; times are of the samples without error."""
    return [_summary(measurement) for measurement in window.measurements]


def _summary(measurement: Measurement) -> ServiceMeasured:
    latencies = [sample.latency_ms for sample in measurement.samples if not sample.error]
    return ServiceMeasured(
        target=RouteAs(route=measurement.route, identity=measurement.identity),
        cache=measurement.cache,
        samples=len(latencies),
        errors=len(measurement.samples) - len(latencies),
        median_ms=round(statistics.median(latencies), 3) if latencies else None,
        p90_ms=round(statistics.quantiles(latencies, n=10)[8], 3) if len(latencies) > 1 else None,
    )
