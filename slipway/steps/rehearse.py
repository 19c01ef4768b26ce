"""Rehearse: upgrade, downgrade, upgrade on a copy of the live database, before anything live is touched."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.adapters.databases.contents import read_contents
from slipway.adapters.databases.moving import invalid_indexes, is_same_database
from slipway.adapters.databases.postgresql import PostgreSQL
from slipway.adapters.migrating import BASE, MigrationTool, move_failed
from slipway.change import Migrate
from slipway.contents import Snapshot
from slipway.errors import SlipwayError
from slipway.finding import Finding
from slipway.outcomes import CommandRun, Plan, Rehearsal, Reversibility
from slipway.rules.reversing import judge_way_back
from slipway.settings import resolve
from slipway.steps.old_code import old_code_findings


def rehearse(plan: Plan, config_folder: Path) -> Rehearsal:
    """Copy the live database, move the copy there, back and there again, and compare schema and rows with before.

    Raises SlipwayError when the copy cannot be made, the tool does not keep to the copy, or the upgrade fails. A way
    back that is none is no error: it is told, and whatever goes wrong later is then left to a person. The copy is
    dropped whatever happens; nothing live is written.
    """
    wanted = plan.change.migrate
    if wanted is None or plan.service.database is None:
        return Rehearsal(reversibility="nothing to migrate")
    live = PostgreSQL(resolve(plan.service.database.url))
    server = live if plan.service.database.clone is None else PostgreSQL(resolve(plan.service.database.clone))
    with server.empty(plan.service.name) as empty:  # one change at a time per service, so the name is free
        prove_apart(MigrationTool(plan.service, empty.connection_url(), config_folder))
    began = time.monotonic()
    with live.copied(plan.service.name) if server is live else cloned(server, live) as copy:
        seconds = round(time.monotonic() - began, 3)
        tool = MigrationTool(plan.service, copy.connection_url(), config_folder)
        rehearsal = there_and_back(tool, copy, wanted, live.schema())
        found = (*rehearsal.findings, *old_code_findings(plan, copy.connection_url(), config_folder))
        about_live = {"copy_seconds": seconds, "invalid_at_start": invalid_indexes(live), "findings": found}
        return rehearsal.model_copy(update=about_live)


@contextmanager
def cloned(clone: PostgreSQL, live: PostgreSQL) -> Iterator[PostgreSQL]:
    """The clone that the owner keeps, seen not to be the live database. It is left as the rehearsal leaves it."""
    if is_same_database(live, clone):
        raise SlipwayError(
            f"The clone {clone.name} is the live database itself. Nothing was changed.",
            expected="`clone` in slipway.toml to name another database.",
            retry_is_safe=True,
        )
    yield clone


def prove_apart(tool: MigrationTool) -> None:
    """Raise SlipwayError when the service's tool sees a revision in a database that is still empty.

    It would be the live one, or another that stands in the service's own configuration: the tool does not follow the
    variable, and its upgrade would not change the copy.
    """
    seen = tool.current()
    if seen != BASE:
        raise SlipwayError(
            f"`{' '.join(tool.migrations.argv.current)}` sees revision {seen} in an empty database: it does not follow "
            f"the variable {tool.variable}, and would change another database than the copy. Nothing was changed.",
            expected=f"A service whose commands connect to what {tool.variable} says, and to nothing else.",
            retry_is_safe=True,
        )


def there_and_back(tool: MigrationTool, copy: PostgreSQL, wanted: Migrate, live_schema: str) -> Rehearsal:
    """Upgrade, downgrade and upgrade a copy, and judge the way back."""
    before = Snapshot(schema_text=copy.schema(), tables=read_contents(copy))
    stands = tool.current()
    if stands != wanted.start:
        raise SlipwayError(
            f"The copy stands at {stands}, not at {wanted.start}. Nothing live was changed.",
            expected=f"A copy at {wanted.start}; a clone of your own has to be made anew.",
            retry_is_safe=True,
        )
    up = _upgrade(tool, wanted)
    schema = copy.schema()
    changed = Snapshot(schema_text=schema, tables=read_contents(copy) if schema == before.schema_text else ())
    worth, losses, commands = _back_and_again(tool, copy, wanted, before, changed)
    return Rehearsal(
        reversibility=worth,
        losses=losses,
        findings=_findings(worth, losses),
        copy_bytes=copy.size_bytes(),
        upgrade_seconds=up.seconds,
        downgrade_seconds=commands[0].seconds,
        rows=sum(table.rows for table in before.tables),
        schema_at_start=digest(live_schema),
        schema_at_end=digest(schema) if before.schema_text == live_schema else "",
        commands=(up, *commands),
    )


def digest(schema: str) -> str:
    """By what a schema is known again."""
    return hashlib.sha256(schema.encode()).hexdigest()


def _back_and_again(
    tool: MigrationTool, copy: PostgreSQL, wanted: Migrate, before: Snapshot, changed: Snapshot
) -> tuple[Reversibility, tuple[str, ...], tuple[CommandRun, ...]]:
    down = tool.downgrade(wanted.start)
    stands = tool.current()
    if down.exit_code != 0 or stands != wanted.start:
        return "fails", (move_failed(down, was=wanted.to, stands=stands).failed,), (down,)
    after = Snapshot(schema_text=copy.schema(), tables=read_contents(copy))
    worth, losses = judge_way_back(before, changed, after)
    if worth == "does nothing":  # there is nothing to upgrade again
        return worth, losses, (down,)
    again = tool.upgrade(wanted.to)
    if again.exit_code != 0 or tool.current() != wanted.to:
        told = move_failed(again, was=wanted.start, stands=tool.current()).failed
        return "fails", (*losses, f"After the downgrade the upgrade does not work any more: {told}"), (down, again)
    return worth, losses, (down, again)


def _upgrade(tool: MigrationTool, wanted: Migrate) -> CommandRun:
    ran = tool.upgrade(wanted.to)
    stands = tool.current()
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
