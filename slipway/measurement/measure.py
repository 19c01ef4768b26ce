"""Measure: the targets of a change and their controls, or the routes that a service's owner watches."""

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
    """One window over all targets and controls of a change. Raises as the probe.

    `first` marks the first window of a run: it is discarded and measured again if it was cold.
    """
    routes = []
    for pair in plan.change.pairs():
        routes.append(RouteAs(route=pair.route, identity=pair.identity))
        routes.append(RouteAs(route=pair.control_route, identity=pair.control_identity))

    def probe() -> MeasuredWindow:
        return measure(plan.service, routes, progress=progress)

    return _not_cold(probe) if first else probe()


def measure_service(service: Service, progress: Progress | None = None) -> MeasuredWindow:
    """One window over the routes that the service's entry watches. Raises InvalidInput when it watches none."""
    if not service.probe.watch:
        raise InvalidInput(
            f"Service {service.name} watches no route.", expected="Routes under [service.probe] watch in slipway.toml."
        )
    return _not_cold(lambda: measure(service, service.probe.watch, progress=progress))


def _not_cold(probe: Callable[[], MeasuredWindow]) -> MeasuredWindow:
    """The first window, or the one after it if the service was still warming up during the first.

    Only a first window may be discarded. One that was measured after a change is evidence, whatever it shows.
    """
    window = probe()
    reasons = warm_up.cold(window)
    if not reasons:
        return window
    logger.warning("the first window is discarded, the service was still warming up: %s", "; ".join(reasons))
    return probe().model_copy(update={"discarded": reasons})


def summarise(window: MeasuredWindow) -> list[ServiceMeasured]:
    """One line a route × identity × cache class; times over the samples without error."""
    return [_summary(measurement) for measurement in window.measurements]


def _summary(measurement: Measurement) -> ServiceMeasured:
    good = [sample.latency_ms for sample in measurement.samples if not sample.error]
    return ServiceMeasured(
        target=RouteAs(route=measurement.route, identity=measurement.identity),
        cache=measurement.cache,
        samples=len(good),
        errors=len(measurement.samples) - len(good),
        median_ms=round(statistics.median(good), 3) if good else None,
        p90_ms=round(statistics.quantiles(good, n=10)[8], 3) if len(good) > 1 else None,
    )
