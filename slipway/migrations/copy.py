"""Provide the copy for a rehearsal: a new copy or the owner's clone, after a check that it is not the live database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.config.service import Service
from slipway.core.errors import SlipwayError
from slipway.core.finding import Finding
from slipway.databases.database import Database
from slipway.databases.opening import clone_database
from slipway.databases.sizes import format_bytes, format_seconds
from slipway.migrations.tool import BASE, MigrationTool

COPY_BYTES_PER_S = 50e6  # half of what `python -m benchmarks.copy` measured on two cores: dump, restore, read
logger = logging.getLogger("slipway.rehearse")


def check_space_and_time(service: Service, live: Database) -> tuple[Finding, ...]:
    """Raise SlipwayError if a copy needs too much disk space or time, and return findings about what was not checked.

    With a clone nothing is copied, so nothing is checked.
    """
    assert service.database is not None  # check_fit checks this
    if service.database.clone is not None:
        return ()
    _check_time(live, service.database.copy_within_s)
    return live.check_disk_space()


def _check_time(live: Database, within_s: float) -> None:
    size = live.size_bytes()
    seconds = size / COPY_BYTES_PER_S
    logger.info("a copy of %s, %s, takes about %s", live.name, format_bytes(size), format_seconds(seconds))
    if seconds > within_s:
        raise SlipwayError(
            f"A copy of {live.name}, {format_bytes(size)}, would take about {format_seconds(seconds)}. "
            "Nothing was copied.",
            expected=f"A copy takes at most {format_seconds(within_s)} (copy_within_s in [service.database]). Raise the limit, "
            "or set `clone`.",
            retry_is_safe=True,
        )


@contextmanager
def copy_of(service: Service, live: Database, config_folder: Path) -> Iterator[Database]:
    """Yield a copy that is dropped at the end, or the owner's clone, which keeps the state after the rehearsal.

    Raises SlipwayError if the service's migration tool would use another database.
    """
    clone = clone_database(service, live)
    server = clone or live
    with server.empty(service.name) as empty:  # one change runs at a time per service, so the name is free
        prove_apart(MigrationTool(service, empty.connection_url(), config_folder))
    if clone is None:
        with live.copied(service.name) as copy:
            _check_not_live(live, copy, "copy")
            yield copy
        return
    _check_not_live(live, clone, "clone")
    yield clone


def _check_not_live(live: Database, copy: Database, kind: str) -> None:
    if live.is_same(copy):
        raise SlipwayError(
            f"The {kind} {copy.name} is the live database itself. Nothing was changed.",
            expected="`clone` in slipway.toml names another database.",
            retry_is_safe=True,
        )


def prove_apart(tool: MigrationTool) -> None:
    """Raise SlipwayError if the service's migration tool reports a revision for an empty database.

    The tool then ignores the variable and connects to another database, for example the live one from the service's own
    configuration, and its upgrade would not change the copy.
    """
    revision = tool.current()
    if revision != BASE:
        raise SlipwayError(
            f"`{' '.join(tool.migrations.argv.current)}` reports revision {revision} for an empty database. The command "
            f"ignores the variable {tool.variable} and would change a database other than the copy. Nothing was changed.",
            expected=f"The commands of the service connect only to the database in {tool.variable}.",
            retry_is_safe=True,
        )
