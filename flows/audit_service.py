"""Go through the checklist of a service, without changing anything."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from slipway.core.frozen import ServiceName
from slipway.flows.card import card
from slipway.flows.service_hold import while_wanted
from slipway.tasks.audit import audit_service as audit
from slipway.tasks.service import read_service

CARD = card(
    "Audits a service: cache headers, leaks between people, security headers, cookies, the upload limit, error pages, the "
    "database role, secrets in the configuration, and the log.",
    owner="the owner of the service",
    expected="A checklist: each item pass, fail or not checked with its reason, and what fails anew since the last audit.",
    rollback="Nothing to undo: it reads, and posts one body that must be refused, where the service's entry names an upload.",
)


@flow(name="audit-service", flow_run_name="audit-service {service}", description=CARD)
def audit_service(service: ServiceName) -> State[str]:
    """Read the service's entry, go through the checklist; the run fails when an item does.

    Args:
        service: an entry of slipway.toml
    """

    def work() -> State[str]:
        found = audit(read_service(service))
        if found.of("fail"):
            return Failed(name="ItemsFailed", message=found.sentence)
        return Completed(name="Passed", message=found.sentence, data="passed")

    return while_wanted(work, "Nothing had been changed.")
