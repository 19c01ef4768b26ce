"""Staging as rehearsal: what a change did on the staging service, noted there and asked for before production."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from slipway.config.plan import Plan
from slipway.runs.shipments import Shipment, Shipments
from slipway.shipping.outcomes import Staged
from slipway.shipping.staging_rules import commands_of, sql_digest, staged


def note(shipments: Shipments, run_id: str, plan: Plan, came_of_it: Literal["kept", "rolled back"]) -> None:
    """Remember what came of a run. Raises Unavailable; a repeat leaves the first note."""
    shipments.note(
        Shipment(
            run_id=run_id,
            service=plan.service.name,
            change=plan.name,
            digest=plan.digest,
            sql_digest=sql_digest(plan) if came_of_it == "kept" else "",
            commands=commands_of(plan),
            came_of_it=came_of_it,
            at=datetime.now(UTC),
        )
    )


def look_at_staging(plan: Plan, shipments: Shipments) -> Staged:
    """The two runs on the staging service that the change needs. Raises InvalidInput for what is missing there."""
    staging = plan.service.staging
    assert staging is not None  # the flow asks only where there is one
    now = datetime.now(UTC)
    known = shipments.of(staging.service, plan.name)
    return staged(plan, staging, known, lambda shipment: (now - shipment.at).total_seconds() / 3_600)
