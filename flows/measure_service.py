"""Measure the routes that a service watches, without changing anything, and keep their history."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from slipway.core.frozen import ServiceName
from slipway.flows.card import card
from slipway.flows.service_hold import while_wanted
from slipway.measurement.warm_up import remarks
from slipway.tasks.history import keep_history
from slipway.tasks.measure import measure_service as measure
from slipway.tasks.service import read_service

CARD = card(
    "Measures the watched routes of a service, anonymous and signed in, at the rate that its owner set.",
    owner="the owner of the service",
    expected="A table of medians and p90 a route, identity and cache class; an event where a baseline has drifted.",
    rollback="Nothing to undo: it only reads.",
)


@flow(name="measure-service", flow_run_name="measure-service {service}", description=CARD)
def measure_service(service: ServiceName) -> State[str]:
    """Read the service's entry, measure its watched routes, add them to its history.

    Args:
        service: an entry of slipway.toml
    """

    def work() -> State[str]:
        entry = read_service(service)
        window = measure(entry)
        drifts = [series.sentence for series in keep_history(entry, window).newly_drifted]
        summary = f"{len(window.measurements)} measurements in {window.seconds:.0f} s."
        return Completed(message=" ".join([summary, *remarks(window), *drifts]), data="measured")

    return while_wanted(work, "Nothing had been changed.")
