"""Migrate and roll back: read the database's revision, run the service's own command, and read the revision again."""

from __future__ import annotations

import logging
from pathlib import Path

from slipway.config.plan import Plan
from slipway.core import cancellation
from slipway.core.commands import CommandRun
from slipway.core.errors import SlipwayError
from slipway.core.frozen import FrozenModel
from slipway.databases.catalog import LockMode
from slipway.databases.database import Blocker, Database
from slipway.databases.lock_conflicts import blocking_locks
from slipway.databases.opening import live_database
from slipway.migrations.lock_retry import lock_timed_out, retry_delays
from slipway.migrations.lock_wait import LockWaitBudget, format_blockers, wait_for_lock_holders
from slipway.migrations.outcomes import Migration, Rehearsal
from slipway.migrations.schema_check import SchemaCheck
from slipway.migrations.server_restarts import unavailable_after_restart
from slipway.migrations.tool import MigrationTool, application_name, move_failed

WAIT_PER_ATTEMPT_S = 5.0
logger = logging.getLogger("slipway.migrate")


class Move(FrozenModel):
    """One upgrade or downgrade: both revisions, and the digests of the rehearsed schemas there ("" if unknown)."""

    start: str
    to: str
    forward: bool
    schema_at_start: str
    schema_at_end: str
    known_invalid: tuple[str, ...]
    locks: dict[str, LockMode]  # the locks that the rehearsal recorded, by table; empty for a downgrade


def migrate(plan: Plan, config_folder: Path, rehearsal: Rehearsal | None = None) -> Migration | None:
    """Migrate the live database from `from` to `to`; return None for a change without a migration.

    Does nothing if the database is already at `to`. Raises SlipwayError if the database is at another revision, if its
    schema differs from the rehearsed one and cannot be repaired, or if the migration fails.
    """
    migration = plan.change.migrate
    if migration is None:
        return None
    rehearsal = rehearsal or Rehearsal(reversibility="nothing to migrate")
    move = Move(
        start=migration.start,
        to=migration.to,
        forward=True,
        schema_at_start=rehearsal.schema_at_start,
        schema_at_end=rehearsal.schema_at_end,
        known_invalid=rehearsal.invalid_at_start,
        locks=blocking_locks(rehearsal.statements),
    )
    return _move(plan, config_folder, move)


def migrate_back(plan: Plan, config_folder: Path, rehearsal: Rehearsal | None = None) -> Migration | None:
    """Downgrade the live database to `from`; return None for a change without a migration. Raises as `migrate`."""
    migration = plan.change.migrate
    if migration is None:
        return None
    rehearsal = rehearsal or Rehearsal(reversibility="nothing to migrate")
    move = Move(
        start=migration.to,
        to=migration.start,
        forward=False,
        schema_at_start="",  # a schema change by another session is no reason to keep a bad change
        schema_at_end=rehearsal.schema_at_start,
        known_invalid=rehearsal.invalid_at_start,
        locks={},
    )
    return _move(plan, config_folder, move)


def _move(plan: Plan, config_folder: Path, move: Move) -> Migration:
    assert plan.service.migrations is not None  # check_fit checks this
    database = live_database(plan.service, config_folder)
    application = application_name(plan.service)
    url = database.command_url(application, plan.service.migrations)
    tool = MigrationTool(plan.service, url, config_folder, live=True)
    with unavailable_after_restart(database, plan.service.name), database.hold_migration_lock():
        # A command of a dead attempt may still be running. This attempt holds the lock, so it may end that command.
        database.end_sessions(application)
        return _migrate_once(plan, tool, database, move)


def _migrate_once(plan: Plan, tool: MigrationTool, database: Database, move: Move) -> Migration:
    revision = tool.current(move.to)
    end = SchemaCheck(database, move.to, move.schema_at_end, move.known_invalid)
    if revision == move.to:
        end.repair()
        return Migration(
            before=revision, after=move.to, acted=False, commands=tuple(tool.commands), mended=tuple(end.dropped)
        )
    if revision != move.start:
        raise SlipwayError(
            f"The database of {plan.service.name} is at revision {revision}, but {plan.name} migrates it from {move.start} to "
            f"{move.to}.",
            expected=f"The database is at revision {move.start}, or already at {move.to}.",
            retry_is_safe=True,
        )
    start = SchemaCheck(database, move.start, move.schema_at_start, move.known_invalid)
    start.repair()
    blockers = _attempt_until_moved(tool, database, move, start)
    if move.forward:
        end.repair()
    return Migration(
        before=move.start,
        after=move.to,
        acted=True,
        commands=tuple(tool.commands),
        blocked_by=tuple(blocker.describe() for blocker in blockers),
        mended=(*start.dropped, *end.dropped),
    )


def _attempt_until_moved(tool: MigrationTool, database: Database, move: Move, start: SchemaCheck) -> list[Blocker]:
    """Run the command until the migration is done, each time with a lock timeout; return the sessions that blocked it."""
    seen: dict[int, Blocker] = {}
    delays = retry_delays(tool.migrations.tries)
    budget = LockWaitBudget(WAIT_PER_ATTEMPT_S, sum(delays))
    for number, delay in enumerate([*delays, None], start=1):
        seen |= wait_for_lock_holders(database, move.locks, budget)
        with cancellation.uninterruptible(), database.watch_blockers(tool.application) as blockers:
            command = tool.upgrade(move.to) if move.forward else tool.downgrade(move.to)
        if command.exit_code != 0:
            database.end_sessions(tool.application)  # the server still runs the statements of a killed command
        seen |= {blocker.pid: blocker for blocker in blockers}
        reached = tool.current(move.to) if command.exit_code == 0 else tool.describe_current(move.to)
        if command.exit_code == 0 and reached == move.to:
            return list(seen.values())
        if reached == move.start:
            start.repair()
        if delay is None or reached != move.start or not lock_timed_out(command):
            raise _migration_error(command, move, reached, number, list(seen.values()))
        logger.warning("attempt %d timed out on a lock%s; retrying in %.1f s", number, _blocked_by(blockers), delay)
        cancellation.wait(delay)
    raise AssertionError("the last attempt returns or raises")


def _migration_error(
    command: CommandRun, move: Move, reached: str, attempts: int, blockers: list[Blocker]
) -> SlipwayError:
    error = move_failed(command, start=move.start, reached=reached)
    if not lock_timed_out(command):
        return error
    return SlipwayError(
        f"{error.failed} The migration could not get a lock in {attempts} attempts{_blocked_by(blockers)}.",
        expected="No session holds a lock for long. End that session, or ship at a quieter time.",
        retry_is_safe=error.retry_is_safe,
    )


def _blocked_by(blockers: list[Blocker]) -> str:
    return f", blocked by {format_blockers(blockers)}" if blockers else ""
