"""Roll back the database to the revision before the change. The purge after it is a separate step."""

from __future__ import annotations

from pathlib import Path

from slipway.config.plan import Plan
from slipway.migrations.migrate import migrate_back
from slipway.migrations.outcomes import Migration, Rehearsal, Reverted

NO_ACTION = "no action was needed: "


def roll_back(plan: Plan, config_folder: Path, rehearsal: Rehearsal | None = None) -> Reverted:
    """Downgrade the database, if the change has a migration that was not rolled back yet. Raises as `migrate_back`."""
    migration = migrate_back(plan, config_folder, rehearsal)
    return Reverted(migration=migration, sentence=_sentence(migration))


def _sentence(migration: Migration | None) -> str:
    if migration is None:
        return f"{NO_ACTION}the change has no migration."
    if not migration.acted:
        return f"{NO_ACTION}the database is already at revision {migration.after}."
    return f"the database moved from revision {migration.before} to {migration.after}."
