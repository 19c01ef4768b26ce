import uuid

from prefect.events import emit_event

from slipway.config.service import Service
from slipway.measurement import keep_history as steps
from slipway.measurement.history import Series, Trend
from slipway.measurement.history_store import History
from slipway.measurement.samples import MeasuredWindow
from slipway.runs.shipments import Shipments
from slipway.tasks.engine.attempts import own_store, run_id
from slipway.tasks.engine.durable import durable

DRIFTED = "slipway.baseline.drifted"  # the event that an automation can notify on


@durable("keep history")
def keep_history(service: Service, window: MeasuredWindow) -> Trend:
    """Add the window to the service's history, and emit drift events. If repeated, it replaces both: they have the same ids."""
    store = own_store()
    trend = steps.update_history(service, run_id(), window, History(store), Shipments(store))
    for series in trend.newly_drifted:
        _emit_drift(service.name, series)
    return trend


def _emit_drift(service: str, series: Series) -> None:
    emit_event(
        event=DRIFTED,
        resource={
            "prefect.resource.id": f"slipway.service.{service}",
            "prefect.resource.name": service,
            "slipway.route": series.route,
            "slipway.identity": series.identity,
            "slipway.cache": series.cache,
            "slipway.drifted": series.drifted,
        },
        related=[{"prefect.resource.id": f"prefect.flow-run.{run_id()}", "prefect.resource.role": "flow-run"}],
        payload={**series.model_dump(), "sentence": series.sentence},
        id=uuid.uuid5(uuid.UUID(run_id()), series.name),
    )
