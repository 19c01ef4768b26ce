"""Rehearse a migration: upgrade, downgrade and upgrade on a copy of the live database, before any live change."""

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
from slipway.migrations.copy import check_space_and_time, copy_of
from slipway.migrations.old_code import old_code_findings
from slipway.migrations.outcomes import Rehearsal, Reversibility
from slipway.migrations.reversibility import judge_downgrade
from slipway.migrations.server_restarts import unavailable_after_restart
from slipway.migrations.survey import report_upgrade
from slipway.migrations.tool import MigrationTool, move_failed


def rehearse(plan: Plan, config_folder: Path) -> Rehearsal:
    """Upgrade, downgrade and upgrade a copy of the live database, and compare its schema and rows with before.

    Raises SlipwayError if the copy cannot be made, the tool changes another database, or the upgrade fails. A downgrade
    that fails or loses data raises no error: the result reports it, and after a later failure the change is frozen. The
    copy is always dropped. The live database is only read.
    """
    migrate = plan.change.migrate
    if migrate is None or plan.service.database is None:
        return Rehearsal(reversibility="nothing to migrate")
    live = live_database(plan.service, config_folder)
    live.check()
    space_findings, start = check_space_and_time(plan.service, live), time.monotonic()
    with (
        copy_of(plan.service, live, config_folder) as copy,
        unavailable_after_restart(copy, plan.service.name) as check_restart,
    ):
        seconds = round(time.monotonic() - start, 3)
        rehearsal = rehearse_on_copy(plan, migrate, copy, live, config_folder)
        old_code = old_code_findings(plan, copy.connection_url(), config_folder)
        if rehearsal.reversibility == "fails" or any(finding.level == "error" for finding in old_code):
            check_restart()
        update = {"copy_seconds": seconds, "findings": (*rehearsal.findings, *old_code, *space_findings)}
        return rehearsal.model_copy(update=update)


def rehearse_on_copy(plan: Plan, migrate: Migrate, copy: Database, live: Database, config_folder: Path) -> Rehearsal:
    """Upgrade, downgrade and upgrade a copy; survey the copy around the first upgrade, and judge the downgrade."""
    tool, live_schema = MigrationTool(plan.service, copy.connection_url(), config_folder), live.schema()
    _check_revision(tool, migrate)
    before = Snapshot(schema_text=copy.schema(), tables=copy.contents())
    with report_upgrade(live, copy, plan) as report:
        upgrade = _upgrade(MigrationTool(plan.service, report.url, config_folder), migrate)
    schema = copy.schema()
    _check_live_unchanged(live, live_schema)
    changed = Snapshot(schema_text=schema, tables=copy.contents() if schema == before.schema_text else ())
    _check_copy_changed(before, changed, migrate)
    reversibility, losses, commands = _downgrade_and_upgrade(tool, copy, migrate, before, changed)
    return Rehearsal(
        reversibility=reversibility,
        losses=losses,
        findings=(*_findings(reversibility, losses), *report.findings),
        plans=report.plans,
        statements=report.statements,
        grown_bytes=report.grown_bytes,
        copy_bytes=copy.size_bytes(),
        upgrade_seconds=upgrade.seconds,
        downgrade_seconds=commands[0].seconds,
        rows=sum(table.rows for table in before.tables),
        schema_at_start=digest(live_schema),
        schema_at_end=digest(schema) if before.schema_text == live_schema else "",
        invalid_at_start=live.invalid_indexes(),
        commands=(upgrade, *commands),
    )


def _check_revision(tool: MigrationTool, migrate: Migrate) -> None:
    revision = tool.current(migrate.to)
    if revision != migrate.start:
        raise SlipwayError(
            f"The copy is at revision {revision}, not at {migrate.start}. Nothing live was changed.",
            expected=f"The copy is at revision {migrate.start}. If you set `clone`, make that clone again.",
            retry_is_safe=True,
        )


def _check_live_unchanged(live: Database, schema: str) -> None:
    if live.schema() != schema:
        raise SlipwayError(
            f"The schema of the live database {live.name} changed while its copy was migrated. The upgrade or another session "
            "changed it.",
            expected="The upgrade changes only the copy, and no other session changes the live schema during a rehearsal.",
            retry_is_safe=False,
        )


def _check_copy_changed(before: Snapshot, changed: Snapshot, migrate: Migrate) -> None:
    if (changed.schema_text, changed.tables) == (before.schema_text, before.tables):
        raise SlipwayError(
            f"The migration tool reports revision {migrate.to}, but no row of the copy changed. It wrote to another database.",
            expected="The migration tool stores the revision in the database that it migrates.",
            retry_is_safe=False,
        )


def digest(schema: str) -> str:
    """Return the SHA-256 digest of a schema, in hexadecimal."""
    return hashlib.sha256(schema.encode()).hexdigest()


def _downgrade_and_upgrade(
    tool: MigrationTool, copy: Database, migrate: Migrate, before: Snapshot, changed: Snapshot
) -> tuple[Reversibility, tuple[str, ...], tuple[CommandRun, ...]]:
    down = tool.downgrade(migrate.start)
    reached = tool.describe_current(migrate.to)  # a downgrade to one of two branches leaves both heads
    if down.exit_code != 0 or reached != migrate.start:
        return "fails", (move_failed(down, start=migrate.to, reached=reached).failed,), (down,)
    after = Snapshot(schema_text=copy.schema(), tables=copy.contents())
    reversibility, losses = judge_downgrade(before, changed, after)
    if reversibility == "does nothing":  # the copy is still upgraded
        return reversibility, losses, (down,)
    again = tool.upgrade(migrate.to)
    reached = tool.describe_current(migrate.to)
    if again.exit_code != 0 or reached != migrate.to:
        failed = move_failed(again, start=migrate.start, reached=reached).failed
        return "fails", (*losses, f"The second upgrade, after the downgrade, failed: {failed}"), (down, again)
    return reversibility, losses, (down, again)


def _upgrade(tool: MigrationTool, migrate: Migrate) -> CommandRun:
    command = tool.upgrade(migrate.to)
    reached = tool.describe_current(migrate.to)
    if command.exit_code != 0 or reached != migrate.to:
        error = move_failed(command, start=migrate.start, reached=reached)
        raise SlipwayError(
            f"The upgrade failed on the copy of the live database: {error.failed} Nothing live was changed.",
            expected=error.expected,
            retry_is_safe=True,
        )
    return command


def _findings(reversibility: Reversibility, losses: tuple[str, ...]) -> tuple[Finding, ...]:
    if reversibility == "lossless":
        return ()
    summaries = {
        "lossy": "The downgrade does not restore everything.",
        "does nothing": "The downgrade changes nothing: it exits with 0 and leaves everything as it was after the upgrade.",
        "fails": "The downgrade fails on the copy.",
    }
    return (
        Finding(
            code=f"way-back-{reversibility.replace(' ', '-')}",
            level="warning",
            summary=summaries[reversibility],
            explanation=f"{'; '.join(losses)[:2_000]}. If anything fails after the migration, the change is frozen.",
        ),
    )
