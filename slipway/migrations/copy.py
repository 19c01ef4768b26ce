"""The copy to rehearse on: made here, or kept by the owner, and proven to be another database than the live one."""

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
from slipway.databases.sizes import bytes_in_words, seconds_in_words
from slipway.migrations.tool import BASE, MigrationTool

COPY_BYTES_PER_S = (
    50e6  # half of what `python -m benchmarks.copy` saw on two cores: dump, restore and a look at the rows
)
logger = logging.getLogger("slipway.rehearse")


def see_room(service: Service, live: Database) -> tuple[Finding, ...]:
    """Raise SlipwayError where a copy finds no room or no time; what could not be looked at is told. A clone needs neither."""
    assert service.database is not None  # held by check_fit
    if service.database.clone is not None:
        return ()
    _see_time(live, service.database.copy_within_s)
    return live.room()


def _see_time(live: Database, within_s: float) -> None:
    size = live.size_bytes()
    seconds = size / COPY_BYTES_PER_S
    logger.info("a copy of %s, %s, takes about %s", live.name, bytes_in_words(size), seconds_in_words(seconds))
    if seconds > within_s:
        raise SlipwayError(
            f"A copy of {live.name}, {bytes_in_words(size)}, would take about {seconds_in_words(seconds)}. "
            "Nothing was copied.",
            expected=f"At most {seconds_in_words(within_s)} (copy_within_s in [service.database]), or a clone.",
            retry_is_safe=True,
        )


@contextmanager
def copy_of(service: Service, live: Database, config_folder: Path) -> Iterator[Database]:
    """A copy that is removed at the end, or the clone that the owner keeps, left as the rehearsal leaves it.

    Raises SlipwayError when the service's tool would not keep to it.
    """
    clone = clone_database(service, live)
    server = clone or live
    with server.empty(service.name) as empty:  # one change at a time per service, so the name is free
        prove_apart(MigrationTool(service, empty.connection_url(), config_folder))
    if clone is None:
        with live.copied(service.name) as copy:
            _prove_another(live, copy, "copy")
            yield copy
        return
    _prove_another(live, clone, "clone")
    yield clone


def _prove_another(live: Database, copy: Database, what: str) -> None:
    if live.is_same(copy):
        raise SlipwayError(
            f"The {what} {copy.name} is the live database itself. Nothing was changed.",
            expected="`clone` in slipway.toml to name another database.",
            retry_is_safe=True,
        )


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
