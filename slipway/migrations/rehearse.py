"""Rehearse: upgrade, downgrade, upgrade on a copy of the live database, before anything live is touched."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from slipway.config.change import Migrate
from slipway.config.plan import Plan
from slipway.core.commands import CommandRun
from slipway.core.errors import SlipwayError
from slipway.core.finding import Finding
from slipway.databases.checksums import Snapshot
from slipway.databases.database import Database
from slipway.databases.opening import live_database
from slipway.migrations.copy import copy_of, see_room
from slipway.migrations.old_code import old_code_findings
from slipway.migrations.outcomes import Rehearsal, Reversibility
from slipway.migrations.reversibility import judge_way_back
from slipway.migrations.server_restarts import told_restarts
from slipway.migrations.survey import reported
from slipway.migrations.tool import MigrationTool, move_failed


def rehearse(plan: Plan, config_folder: Path) -> Rehearsal:
    """Copy the live database, move the copy there, back and there again, and compare schema and rows with before.

    Raises SlipwayError when the copy cannot be made, the tool does not keep to the copy, or the upgrade fails. A way
    back that is none is no error: it is told, and whatever goes wrong later is then left to a person. The copy is
    dropped whatever happens; nothing live is written.
    """
    wanted = plan.change.migrate
    if wanted is None or plan.service.database is None:
        return Rehearsal(reversibility="nothing to migrate")
    live = live_database(plan.service, config_folder)
    live.check()
    room, began = see_room(plan.service, live), time.monotonic()
    with copy_of(plan.service, live, config_folder) as copy, told_restarts(copy, plan.service.name) as see_restarts:
        seconds = round(time.monotonic() - began, 3)
        rehearsal = on_copy(plan, wanted, copy, live, config_folder)
        old_code = old_code_findings(plan, copy.connection_url(), config_folder)
        if rehearsal.reversibility == "fails" or any(finding.level == "error" for finding in old_code):
            see_restarts()
        update = {"copy_seconds": seconds, "findings": (*rehearsal.findings, *old_code, *room)}
        return rehearsal.model_copy(update=update)


def on_copy(plan: Plan, wanted: Migrate, copy: Database, live: Database, config_folder: Path) -> Rehearsal:
    """Upgrade, downgrade and upgrade a copy; look at it before and after the first, and judge the way back."""
    tool, live_schema = MigrationTool(plan.service, copy.connection_url(), config_folder), live.schema()
    _see_that_it_stands(tool, wanted)
    before = Snapshot(schema_text=copy.schema(), tables=copy.contents())
    with reported(live, copy, plan) as report:
        up = _upgrade(MigrationTool(plan.service, report.url, config_folder), wanted)
    schema = copy.schema()
    _see_that_live_is_as_it_was(live, live_schema)
    changed = Snapshot(schema_text=schema, tables=copy.contents() if schema == before.schema_text else ())
    _see_that_the_copy_changed(before, changed, wanted)
    worth, losses, commands = _back_and_again(tool, copy, wanted, before, changed)
    return Rehearsal(
        reversibility=worth,
        losses=losses,
        findings=(*_findings(worth, losses), *report.findings),
        plans=report.plans,
        statements=report.statements,
        grown_bytes=report.grown_bytes,
        copy_bytes=copy.size_bytes(),
        upgrade_seconds=up.seconds,
        downgrade_seconds=commands[0].seconds,
        rows=sum(table.rows for table in before.tables),
        schema_at_start=digest(live_schema),
        schema_at_end=digest(schema) if before.schema_text == live_schema else "",
        invalid_at_start=live.half_made(),
        commands=(up, *commands),
    )


def _see_that_it_stands(tool: MigrationTool, wanted: Migrate) -> None:
    stands = tool.current(wanted.to)
    if stands != wanted.start:
        raise SlipwayError(
            f"The copy stands at {stands}, not at {wanted.start}. Nothing live was changed.",
            expected=f"A copy at {wanted.start}; a clone of your own has to be made anew.",
            retry_is_safe=True,
        )


def _see_that_live_is_as_it_was(live: Database, schema: str) -> None:
    if live.schema() != schema:
        raise SlipwayError(
            f"The schema of the live database {live.name} changed while its copy was migrated: the upgrade reached it, or "
            "somebody else changed it.",
            expected="An upgrade that keeps to the copy, and no other change of the schema meanwhile.",
            retry_is_safe=False,
        )


def _see_that_the_copy_changed(before: Snapshot, changed: Snapshot, wanted: Migrate) -> None:
    if (changed.schema_text, changed.tables) == (before.schema_text, before.tables):
        raise SlipwayError(
            f"The tool says that the copy went to {wanted.to}, but not a row of the copy changed: it wrote somewhere else.",
            expected="A tool that keeps the revision in the database that it migrates.",
            retry_is_safe=False,
        )


def digest(schema: str) -> str:
    """By what a schema is known again."""
    return hashlib.sha256(schema.encode()).hexdigest()


def _back_and_again(
    tool: MigrationTool, copy: Database, wanted: Migrate, before: Snapshot, changed: Snapshot
) -> tuple[Reversibility, tuple[str, ...], tuple[CommandRun, ...]]:
    down = tool.downgrade(wanted.start)
    stands = tool.reached(wanted.to)  # a downgrade to one of two branches leaves both
    if down.exit_code != 0 or stands != wanted.start:
        return "fails", (move_failed(down, was=wanted.to, stands=stands).failed,), (down,)
    after = Snapshot(schema_text=copy.schema(), tables=copy.contents())
    worth, losses = judge_way_back(before, changed, after)
    if worth == "does nothing":  # there is nothing to upgrade again
        return worth, losses, (down,)
    again = tool.upgrade(wanted.to)
    stands = tool.reached(wanted.to)
    if again.exit_code != 0 or stands != wanted.to:
        told = move_failed(again, was=wanted.start, stands=stands).failed
        return "fails", (*losses, f"After the downgrade the upgrade does not work any more: {told}"), (down, again)
    return worth, losses, (down, again)


def _upgrade(tool: MigrationTool, wanted: Migrate) -> CommandRun:
    ran = tool.upgrade(wanted.to)
    stands = tool.reached(wanted.to)
    if ran.exit_code != 0 or stands != wanted.to:
        error = move_failed(ran, was=wanted.start, stands=stands)
        raise SlipwayError(
            f"The upgrade failed on the copy of the live database: {error.failed} Nothing live was changed.",
            expected=error.expected,
            retry_is_safe=True,
        )
    return ran


def _findings(worth: Reversibility, losses: tuple[str, ...]) -> tuple[Finding, ...]:
    if worth == "lossless":
        return ()
    words = {
        "lossy": "The downgrade does not bring everything back.",
        "does nothing": "The downgrade does nothing: it ends well and leaves everything as the upgrade made it.",
        "fails": "The way back fails on the copy.",
    }
    return (
        Finding(
            code=f"way-back-{worth.replace(' ', '-')}",
            level="warning",
            summary=words[worth],
            explanation=f"{'; '.join(losses)[:2_000]}. Whatever goes wrong after the migration is left to a person.",
        ),
    )
