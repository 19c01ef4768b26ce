"""Roll back: the database to where the change found it. The purge after it is a step of its own."""

from __future__ import annotations

from pathlib import Path

from slipway.config.plan import Plan
from slipway.migrations.migrate import migrate_back
from slipway.migrations.outcomes import Migration, Rehearsal, Reverted

NOTHING = "nothing was left to do, "


def roll_back(plan: Plan, config_folder: Path, rehearsal: Rehearsal | None = None) -> Reverted:
    """Move the database back, if the change has a migration and it is not back already. Raises as `migrate_back`."""
    migration = migrate_back(plan, config_folder, rehearsal)
    return Reverted(migration=migration, sentence=_sentence(migration))


def _sentence(migration: Migration | None) -> str:
    if migration is None:
        return f"{NOTHING}the change has no migration."
    if not migration.acted:
        return f"{NOTHING}the database already stands at {migration.after}."
    return f"the database went from {migration.before} to {migration.after}."
