"""Whether what happened on a staging service is the rehearsal that a change needs. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from slipway.config.plan import Plan
from slipway.config.service import MigrationCommands, Staging
from slipway.core.errors import InvalidInput
from slipway.runs.shipments import Shipment
from slipway.shipping.outcomes import Staged


def sql_digest(plan: Plan) -> str:
    """By what the SQL of a plan's migration is known again."""
    return hashlib.sha256(plan.migration_sql.encode()).hexdigest()


def commands_of(plan: Plan) -> dict[str, list[str]]:
    """The migration commands of a plan's service, as written in slipway.toml; nothing for a change without a migration."""
    if plan.change.migrate is None or plan.service.migrations is None:
        return {}
    return as_written(plan.service.migrations.argv)


def as_written(commands: MigrationCommands) -> dict[str, list[str]]:
    """Commands as they are compared: each by its purpose, with its placeholders."""
    return {purpose: list(argv) for purpose, argv in commands.model_dump(exclude={"prints"}).items()}


def staged(
    plan: Plan, staging: Staging, shipments: Sequence[Shipment], hours_ago: Callable[[Shipment], float]
) -> Staged:
    """The proof on staging that the change needs; `shipments` are those of the change there, in any order.

    Raises InvalidInput that says what the newest try there lacks.
    """
    newest_first = sorted(shipments, key=lambda shipped: shipped.at, reverse=True)
    kept = [shipped for shipped in newest_first if shipped.came_of_it == "kept"]
    if not kept:
        raise _not_yet(plan, staging, f"{plan.name} was not kept on {staging.service} yet.")
    lacking = []
    for candidate in kept:
        back = _rolled_back_after(candidate, newest_first)
        lacks = _lacks(plan, staging, candidate, back, hours_ago(candidate))
        if not lacks and back is not None:
            return Staged(
                service=staging.service,
                kept_by=candidate.run_id,
                kept_at=candidate.at,
                rolled_back_by=back.run_id,
                rolled_back_at=back.at,
            )
        lacking.append(lacks)
    raise _not_yet(plan, staging, lacking[0])


def _rolled_back_after(kept: Shipment, shipments: Sequence[Shipment]) -> Shipment | None:
    """The first roll back of the same change file behind a keep."""
    later = [other for other in shipments if other.came_of_it == "rolled back" and other.at > kept.at]
    same = [other for other in later if other.digest == kept.digest]
    return min(same, key=lambda shipped: shipped.at, default=None)


def _lacks(plan: Plan, staging: Staging, kept: Shipment, back: Shipment | None, hours: float) -> str:
    """Why a keep does not count, in a sentence; empty when it does."""
    there = f"Run {kept.run_id} on {staging.service}"
    if kept.digest != plan.digest:
        return f"{there} kept another change file: sha256 {kept.digest[:16]} there, {plan.digest[:16]} now."
    if kept.commands != commands_of(plan):
        return f"{there} migrated by other commands than {plan.service.name} does: {_differing(kept, plan)}."
    if kept.sql_digest != sql_digest(plan):
        return f"{there} ran another migration: its SQL differs from what would run now."
    if back is None:
        return f"{there} kept the change, but it was not rolled back there yet."
    if hours > staging.within_h:
        return f"{there} kept the change {hours:.0f} hours ago."
    return ""


def _differing(kept: Shipment, plan: Plan) -> str:
    ours = commands_of(plan)
    return "; ".join(
        f"{purpose} by `{' '.join(kept.commands.get(purpose, []))}` there, by `{' '.join(ours.get(purpose, []))}` here"
        for purpose in sorted({*ours, *kept.commands})
        if kept.commands.get(purpose) != ours.get(purpose)
    )


def _not_yet(plan: Plan, staging: Staging, lacks: str) -> InvalidInput:
    return InvalidInput(
        f"{lacks} Nothing was changed.",
        expected=f"The same change kept on {staging.service}, then rolled back there, within {staging.within_h:g} hours: "
        f"slipway ship {plan.name} --staging, slipway rollback {plan.name} --staging.",
    )
