"""Measure the watched routes of a service, without changing anything, and save their history."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from slipway.core.frozen import ServiceName
from slipway.flows.card import card
from slipway.flows.service_hold import run_cancellable
from slipway.measurement.warm_up import remarks
from slipway.tasks.history import keep_history
from slipway.tasks.measure import measure_service as measure
from slipway.tasks.service import read_service

CARD = card(
    "Measures the watched routes of a service, anonymous and signed in, at the rate that the owner of the service set.",
    owner="the owner of the service",
    expected="A table of the median and p90 for each route, identity and cache class; an event if a baseline has drifted.",
    rollback="Nothing to undo: the job only reads.",
)


@flow(name="measure-service", flow_run_name="measure-service {service}", description=CARD)
def measure_service(service: ServiceName) -> State[str]:
    """Read the service's entry, measure its watched routes, and add the times to its history.

    Args:
        service: an entry of slipway.toml
    """

    def work() -> State[str]:
        entry = read_service(service)
        window = measure(entry)
        drifts = [series.sentence for series in keep_history(entry, window).newly_drifted]
        summary = f"{len(window.measurements)} measurements in {window.seconds:.0f} s."
        return Completed(message=" ".join([summary, *remarks(window), *drifts]), data="measured")

    return run_cancellable(work, "Nothing was changed.")
