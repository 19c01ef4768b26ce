"""Measure: the targets of a change and their controls, or the routes that a service's owner watches."""

from __future__ import annotations

import statistics

from slipway.adapters.probe import Progress, measure
from slipway.errors import InvalidInput
from slipway.measurement import MeasuredWindow, Measurement
from slipway.noun import RouteAs
from slipway.outcomes import Plan, ServiceMeasured
from slipway.service import Service


def measure_change(plan: Plan, progress: Progress | None = None) -> MeasuredWindow:
    """One window over all targets and controls of a change. Raises as the probe."""
    routes = []
    for pair in plan.change.pairs():
        routes.append(RouteAs(route=pair.route, identity=pair.identity))
        routes.append(RouteAs(route=pair.control_route, identity=pair.control_identity))
    return measure(plan.service, routes, progress=progress)


def measure_service(service: Service, progress: Progress | None = None) -> MeasuredWindow:
    """One window over the routes that the service's entry watches. Raises InvalidInput when it watches none."""
    if not service.probe.watch:
        raise InvalidInput(
            f"Service {service.name} watches no route.", expected="Routes under [service.probe] watch in slipway.toml."
        )
    return measure(service, service.probe.watch, progress=progress)


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
