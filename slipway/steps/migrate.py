"""Migrate, and roll back: look where the database stands, act by the service's real command, look again."""

from __future__ import annotations

from pathlib import Path

from slipway.adapters.databases.postgresql import PostgreSQL
from slipway.adapters.migrating import MigrationTool, application_name, move_failed
from slipway.errors import SlipwayError, Unavailable
from slipway.outcomes import Migration, Plan
from slipway.settings import resolve


def migrate(plan: Plan, config_folder: Path) -> Migration | None:
    """Move the live database from `from` to `to`; None for a change without a migration.

    Where it already stands at `to`, nothing is done. Raises SlipwayError when it stands elsewhere or the move fails.
    """
    wanted = plan.change.migrate
    return None if wanted is None else _move(plan, config_folder, start=wanted.start, to=wanted.to, forward=True)


def migrate_back(plan: Plan, config_folder: Path) -> Migration | None:
    """Move the live database back to `from`; None for a change without a migration. Looks and raises as `migrate`."""
    wanted = plan.change.migrate
    return None if wanted is None else _move(plan, config_folder, start=wanted.to, to=wanted.start, forward=False)


def _move(plan: Plan, config_folder: Path, *, start: str, to: str, forward: bool) -> Migration:
    assert plan.service.database is not None  # held by check_fit
    database = PostgreSQL(resolve(plan.service.database.url))
    started = database.server_started()
    tool = MigrationTool(plan.service, database.connection_url(), config_folder)
    try:
        # A dead attempt's command may go on without it. Whoever is here has the lock, so no other command is ours.
        database.end_sessions(application_name(plan.service))
        return _look_act_look(plan, tool, start=start, to=to, forward=forward)
    except SlipwayError:
        if database.server_started() != started:
            raise Unavailable(
                f"The database of {plan.service.name} was restarted.", expected="It to stay up."
            ) from None
        raise


def _look_act_look(plan: Plan, tool: MigrationTool, *, start: str, to: str, forward: bool) -> Migration:
    stands = tool.current()
    if stands == to:
        return Migration(before=stands, after=to, acted=False, commands=tuple(tool.ran))
    if stands != start:
        raise SlipwayError(
            f"The database of {plan.service.name} is at {stands}; {plan.name} moves it from {start} to {to}.",
            expected=f"A database at {start} (or already at {to}).",
            retry_is_safe=True,
        )
    ran = tool.upgrade(to) if forward else tool.downgrade(to)
    reached = tool.current()
    if ran.exit_code != 0 or reached != to:
        raise move_failed(ran, was=start, stands=reached)
    return Migration(before=start, after=to, acted=True, commands=tuple(tool.ran))
