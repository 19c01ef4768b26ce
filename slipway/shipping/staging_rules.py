"""Decide whether the shipments on a staging service are the rehearsal that a change needs. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from slipway.config.plan import Plan
from slipway.config.service import MigrationCommands, Staging
from slipway.core.errors import InvalidInput
from slipway.runs.shipments import Shipment
from slipway.shipping.outcomes import Staged


def sql_digest(plan: Plan) -> str:
    """Return the SHA-256 digest of the SQL of a plan's migration, in hexadecimal."""
    return hashlib.sha256(plan.migration_sql.encode()).hexdigest()


def commands_of(plan: Plan) -> dict[str, list[str]]:
    """Return the migration commands as written in slipway.toml; empty for a change without a migration."""
    if plan.change.migrate is None or plan.service.migrations is None:
        return {}
    return as_written(plan.service.migrations.argv)


def as_written(commands: MigrationCommands) -> dict[str, list[str]]:
    """Return the commands for a comparison, by purpose, with their placeholders."""
    return {purpose: list(argv) for purpose, argv in commands.model_dump(exclude={"prints"}).items()}


def staged(
    plan: Plan, staging: Staging, shipments: Sequence[Shipment], hours_ago: Callable[[Shipment], float]
) -> Staged:
    """Return the runs on staging that prove the change: the newest valid keep, and the rollback after it.

    `shipments` are the shipments of the change on staging, in any order. Raises InvalidInput with the reason why the
    newest keep does not count.
    """
    newest_first = sorted(shipments, key=lambda shipped: shipped.at, reverse=True)
    kept = [shipped for shipped in newest_first if shipped.came_of_it == "kept"]
    if not kept:
        raise _not_staged(plan, staging, f"{plan.name} has not been kept on {staging.service}.")
    reasons = []
    for candidate in kept:
        rollback = _rolled_back_after(candidate, newest_first)
        reason = _why_not(plan, staging, candidate, rollback, hours_ago(candidate))
        if not reason and rollback is not None:
            return Staged(
                service=staging.service,
                kept_by=candidate.run_id,
                kept_at=candidate.at,
                rolled_back_by=rollback.run_id,
                rolled_back_at=rollback.at,
            )
        reasons.append(reason)
    raise _not_staged(plan, staging, reasons[0])


def _rolled_back_after(kept: Shipment, shipments: Sequence[Shipment]) -> Shipment | None:
    """Return the first rollback of the same change file after a keep."""
    later = [other for other in shipments if other.came_of_it == "rolled back" and other.at > kept.at]
    same = [other for other in later if other.digest == kept.digest]
    return min(same, key=lambda shipped: shipped.at, default=None)


def _why_not(plan: Plan, staging: Staging, kept: Shipment, rollback: Shipment | None, hours: float) -> str:
    """Return why a keep does not count, as a sentence; empty if it counts."""
    run = f"Run {kept.run_id} on {staging.service}"
    if kept.digest != plan.digest:
        return f"{run} kept a different change file: sha256 {kept.digest[:16]} on staging, {plan.digest[:16]} now."
    if kept.commands != commands_of(plan):
        return f"{run} used other migration commands than {plan.service.name}: {_command_differences(kept, plan)}."
    if kept.sql_digest != sql_digest(plan):
        return f"{run} ran a different migration: its SQL differs from the SQL that would run now."
    if rollback is None:
        return f"{run} kept the change, but it has not been rolled back there."
    if hours > staging.within_h:
        return f"{run} kept the change {hours:.0f} hours ago, which is too long."
    return ""


def _command_differences(kept: Shipment, plan: Plan) -> str:
    ours = commands_of(plan)
    return "; ".join(
        f"{purpose}: `{' '.join(kept.commands.get(purpose, []))}` on staging, `{' '.join(ours.get(purpose, []))}` here"
        for purpose in sorted({*ours, *kept.commands})
        if kept.commands.get(purpose) != ours.get(purpose)
    )


def _not_staged(plan: Plan, staging: Staging, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{reason} Nothing was changed.",
        expected=f"The same change was kept and then rolled back on {staging.service} in the last {staging.within_h:g} hours: "
        f"slipway ship {plan.name} --staging, slipway rollback {plan.name} --staging.",
    )
