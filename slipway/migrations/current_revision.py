"""Read whether a service's database is before or after a change. Read-only."""

from __future__ import annotations

from pathlib import Path

from slipway.config.plan import Plan
from slipway.core.settings import resolve
from slipway.migrations.tool import MigrationTool


def has_begun(plan: Plan, config_folder: Path) -> bool:
    """Return whether the database is no longer at the first revision of the change. Raises SlipwayError if unknown."""
    migrate, database = plan.change.migrate, plan.service.database
    if migrate is None or database is None:
        return False
    return MigrationTool(plan.service, resolve(database.url), config_folder).current(migrate.to) != migrate.start


def describe_revision(plan: Plan, config_folder: Path) -> str:
    """Return a sentence: the database is before the change, after it, or neither. Raises SlipwayError if unknown."""
    migrate, database = plan.change.migrate, plan.service.database
    if migrate is None or database is None:
        return f"{plan.name} has no migration. Its purge may or may not have run."
    revision = MigrationTool(plan.service, resolve(database.url), config_folder).current(migrate.to)
    positions = {migrate.start: "before the change", migrate.to: "after the change, which has no verdict yet"}
    position = positions.get(revision, "neither before nor after the change")
    return f"The database of {plan.service.name} is at revision {revision}: {position}."
