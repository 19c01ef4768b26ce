"""Audit a service with the checklist, without changing anything."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from slipway.core.frozen import ServiceName
from slipway.flows.card import card
from slipway.flows.service_hold import run_cancellable
from slipway.tasks.audit import audit_service as audit
from slipway.tasks.service import read_service

CARD = card(
    "Audits a service: cache headers, leaks between users, security headers, cookies, the upload limit, error pages, the "
    "database role, secrets in the configuration, and the log.",
    owner="the owner of the service",
    expected="Each item is pass, fail or not checked, with a reason. Failures that the last audit did not have are new.",
    rollback="Nothing to undo: the audit only reads, and posts one oversized body to the upload route, if one is declared.",
)


@flow(name="audit-service", flow_run_name="audit-service {service}", description=CARD)
def audit_service(service: ServiceName) -> State[str]:
    """Read the service's entry and go through the checklist. The run fails if an item fails.

    Args:
        service: an entry of slipway.toml
    """

    def work() -> State[str]:
        report = audit(read_service(service))
        if report.of("fail"):
            return Failed(name="ItemsFailed", message=report.sentence)
        return Completed(name="Passed", message=report.sentence, data="passed")

    return run_cancellable(work, "Nothing was changed.")
