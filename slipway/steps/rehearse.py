"""Rehearse: the upgrade and the downgrade on a copy of the live database, before anything live is touched."""

from __future__ import annotations

import difflib
import time
from pathlib import Path

from slipway.adapters.databases.postgresql import PostgreSQL
from slipway.adapters.migrating import MigrationTool, move_failed
from slipway.errors import SlipwayError
from slipway.outcomes import CommandRun, Plan, Rehearsal
from slipway.settings import resolve


def rehearse(plan: Plan, config_folder: Path) -> Rehearsal:
    """Copy the live database, upgrade and downgrade the copy, and compare its schema with before.

    Raises SlipwayError when the copy cannot be made, a move fails, or the downgrade does not bring the schema
    back. The copy is dropped whatever happens; nothing live is written.
    """
    if plan.change.migrate is None or plan.service.database is None:
        return Rehearsal(reversibility="nothing to migrate")
    live = PostgreSQL(resolve(plan.service.database.url))
    began = time.monotonic()
    with live.copied(plan.service.name) as copy:  # one change at a time per service, so the name is free
        copied = time.monotonic() - began
        tool = MigrationTool(plan.service, copy.connection_url(), config_folder)
        before = copy.schema()
        up = _move(tool, "upgrade", plan.change.migrate.start, plan.change.migrate.to)
        changed = copy.schema()
        down = _move(tool, "downgrade", plan.change.migrate.to, plan.change.migrate.start)
        _compare(before, changed, copy.schema(), plan)
        return Rehearsal(
            reversibility="lossless schema",
            copy_bytes=copy.size_bytes(),
            copy_seconds=round(copied, 3),
            upgrade_seconds=up.seconds,
            downgrade_seconds=down.seconds,
            commands=(up, down),
        )


def _move(tool: MigrationTool, direction: str, start: str, to: str) -> CommandRun:
    ran = tool.upgrade(to) if direction == "upgrade" else tool.downgrade(to)
    stands = tool.current()
    if ran.exit_code != 0 or stands != to:
        error = move_failed(ran, was=start, stands=stands)
        raise SlipwayError(
            f"The {direction} failed on the copy of the live database: {error.failed} Nothing live was changed.",
            expected=error.expected,
            retry_is_safe=True,
        )
    return ran


def _compare(before: str, changed: str, after: str, plan: Plan) -> None:
    if before == after:
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=0)
    shown = " | ".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))[:600]
    nothing = " The downgrade does nothing." if changed == after else ""
    raise SlipwayError(
        f"The downgrade of {plan.name} does not bring the schema back on the copy.{nothing} Differences: {shown} "
        "Nothing live was changed.",
        expected="A downgrade after which the schema is as it was before the upgrade.",
        retry_is_safe=True,
    )
