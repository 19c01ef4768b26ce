"""Staging as a rehearsal: record the outcome of a change on staging, and require it before production."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from slipway.config.plan import Plan
from slipway.runs.shipments import Shipment, Shipments
from slipway.shipping.outcomes import Staged
from slipway.shipping.staging_rules import commands_of, sql_digest, staged


def note(shipments: Shipments, run_id: str, plan: Plan, came_of_it: Literal["kept", "rolled back"]) -> None:
    """Save the outcome of a run in the store. A repeat keeps the first entry. Raises Unavailable."""
    shipments.save(
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


def require_staged(plan: Plan, shipments: Shipments) -> Staged:
    """Return the two runs on the staging service that the change needs. Raises InvalidInput if one is missing."""
    staging = plan.service.staging
    assert staging is not None  # the flow calls this only for a service with staging
    now = datetime.now(UTC)
    on_staging = shipments.for_change(staging.service, plan.name)
    return staged(plan, staging, on_staging, lambda shipment: (now - shipment.at).total_seconds() / 3_600)
