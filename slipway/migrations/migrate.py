"""Migrate, and roll back: look where the database stands, act by the service's real command, look again."""

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
from slipway.databases.lock_conflicts import wanted_locks
from slipway.databases.opening import live_database
from slipway.migrations.lock_retry import pauses, waited_for_a_lock
from slipway.migrations.lock_wait import LockWaitBudget, wait_for_a_gap, words
from slipway.migrations.outcomes import Migration, Rehearsal
from slipway.migrations.schema_check import SchemaCheck
from slipway.migrations.server_restarts import told_restarts
from slipway.migrations.tool import MigrationTool, application_name, move_failed

GAP_WITHIN_S = 5.0
logger = logging.getLogger("slipway.migrate")


class Move(FrozenModel):
    """One way through a change: from where to where, and the digests of the rehearsed schemas there ("" for unknown)."""

    start: str
    to: str
    forward: bool
    schema_at_start: str
    schema_at_end: str
    known_invalid: tuple[str, ...]
    wanted: dict[str, LockMode]  # the locks that the rehearsal saw, by table; of a way back they are not known


def migrate(plan: Plan, config_folder: Path, rehearsal: Rehearsal | None = None) -> Migration | None:
    """Move the live database from `from` to `to`; None for a change without a migration.

    Where it already stands at `to`, nothing is done. Raises SlipwayError when it stands elsewhere, when its schema is not
    the rehearsed one and cannot be mended, or when the move fails.
    """
    wanted = plan.change.migrate
    if wanted is None:
        return None
    known = rehearsal or Rehearsal(reversibility="nothing to migrate")
    move = Move(
        start=wanted.start,
        to=wanted.to,
        forward=True,
        schema_at_start=known.schema_at_start,
        schema_at_end=known.schema_at_end,
        known_invalid=known.invalid_at_start,
        wanted=wanted_locks(known.statements),
    )
    return _move(plan, config_folder, move)


def migrate_back(plan: Plan, config_folder: Path, rehearsal: Rehearsal | None = None) -> Migration | None:
    """Move the live database back to `from`; None for a change without a migration. Looks and raises as `migrate`."""
    wanted = plan.change.migrate
    if wanted is None:
        return None
    known = rehearsal or Rehearsal(reversibility="nothing to migrate")
    move = Move(
        start=wanted.to,
        to=wanted.start,
        forward=False,
        schema_at_start="",  # whatever somebody else has changed meanwhile is no reason to leave a bad change live
        schema_at_end=known.schema_at_start,
        known_invalid=known.invalid_at_start,
        wanted={},
    )
    return _move(plan, config_folder, move)


def _move(plan: Plan, config_folder: Path, move: Move) -> Migration:
    assert plan.service.migrations is not None  # held by check_fit
    database = live_database(plan.service, config_folder)
    application = application_name(plan.service)
    url = database.command_url(application, plan.service.migrations)
    tool = MigrationTool(plan.service, url, config_folder, live=True)
    with told_restarts(database, plan.service.name), database.only_mover():
        # A dead attempt's command may go on without it. Whoever is here has the lock, so no other command is ours.
        database.end_sessions(application)
        return _look_act_look(plan, tool, database, move)


def _look_act_look(plan: Plan, tool: MigrationTool, database: Database, move: Move) -> Migration:
    stands = tool.current(move.to)
    end = SchemaCheck(database, move.to, move.schema_at_end, move.known_invalid)
    if stands == move.to:
        end.repair()
        return Migration(before=stands, after=move.to, acted=False, commands=tuple(tool.ran), mended=tuple(end.mended))
    if stands != move.start:
        raise SlipwayError(
            f"The database of {plan.service.name} is at {stands}; {plan.name} moves it from {move.start} to {move.to}.",
            expected=f"A database at {move.start} (or already at {move.to}).",
            retry_is_safe=True,
        )
    whole = SchemaCheck(database, move.start, move.schema_at_start, move.known_invalid)
    whole.repair()
    blockers = _climb(tool, database, move, whole)
    if move.forward:
        end.repair()
    return Migration(
        before=move.start,
        after=move.to,
        acted=True,
        commands=tuple(tool.ran),
        blocked_by=tuple(blocker.words() for blocker in blockers),
        mended=(*whole.mended, *end.mended),
    )


def _climb(tool: MigrationTool, database: Database, move: Move, whole: SchemaCheck) -> list[Blocker]:
    """Try until the move is made, each time with a limit; the answer is who blocked it meanwhile."""
    met: dict[int, Blocker] = {}
    rungs = pauses(tool.migrations.tries)
    patience = LockWaitBudget(GAP_WITHIN_S, sum(rungs))
    for number, pause in enumerate([*rungs, None], start=1):
        met |= wait_for_a_gap(database, move.wanted, patience)
        with cancellation.unbroken(), database.blockers_of(tool.application) as blockers:
            ran = tool.upgrade(move.to) if move.forward else tool.downgrade(move.to)
        if ran.exit_code != 0:
            database.end_sessions(tool.application)  # what a killed command has begun goes on in the server
        met |= {blocker.pid: blocker for blocker in blockers}
        reached = tool.current(move.to) if ran.exit_code == 0 else tool.reached(move.to)
        if ran.exit_code == 0 and reached == move.to:
            return list(met.values())
        if reached == move.start:
            whole.repair()
        if pause is None or reached != move.start or not waited_for_a_lock(ran):
            raise _not_moved(ran, move, reached, number, list(met.values()))
        logger.warning("try %d got no lock in time%s; next in %.1f s", number, _who(blockers), pause)
        cancellation.wait(pause)
    raise AssertionError("the last rung returns or raises")


def _not_moved(ran: CommandRun, move: Move, reached: str, tries: int, met: list[Blocker]) -> SlipwayError:
    error = move_failed(ran, was=move.start, stands=reached)
    if not waited_for_a_lock(ran):
        return error
    return SlipwayError(
        f"{error.failed} It got no lock in {tries} tries{_who(met)}.",
        expected="Nobody who keeps a lock for long; end that session, or ship at a quieter hour.",
        retry_is_safe=error.retry_is_safe,
    )


def _who(blockers: list[Blocker]) -> str:
    return f", blocked by {words(blockers)}" if blockers else ""
