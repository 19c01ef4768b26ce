"""Look: where a service stands with respect to a change. Changes nothing."""

from __future__ import annotations

from pathlib import Path

from slipway.config.plan import Plan
from slipway.core.settings import resolve
from slipway.migrations.tool import MigrationTool


def has_begun(plan: Plan, config_folder: Path) -> bool:
    """Whether the database has left the revision from which the change starts. Raises SlipwayError when it cannot tell."""
    wanted, database = plan.change.migrate, plan.service.database
    if wanted is None or database is None:
        return False
    return MigrationTool(plan.service, resolve(database.url), config_folder).current(wanted.to) != wanted.start


def where_it_stands(plan: Plan, config_folder: Path) -> str:
    """Before the change, after it, or between, as a sentence. Raises SlipwayError when the database cannot tell."""
    wanted, database = plan.change.migrate, plan.service.database
    if wanted is None or database is None:
        return f"{plan.name} has no migration; only its purge may be done or not."
    stands = MigrationTool(plan.service, resolve(database.url), config_folder).current(wanted.to)
    where = {wanted.start: "before the change", wanted.to: "after the change, which was not judged"}
    return (
        f"The database of {plan.service.name} stands at {stands}: {where.get(stands, 'neither before nor after it')}."
    )
