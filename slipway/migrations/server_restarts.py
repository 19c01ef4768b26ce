"""Detect a restart of the database server: a command that fails because of a restart is retried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slipway.core.errors import SlipwayError, Unavailable
from slipway.databases.database import Database


@contextmanager
def unavailable_after_restart(database: Database, service: str) -> Iterator[Callable[[], None]]:
    """Raise Unavailable instead of a SlipwayError in the block if the database server restarted during the block.

    Yields a function that raises Unavailable after a restart, for a failure that is returned and not raised.
    """
    started = database.server_started()

    def check() -> None:
        if database.server_started() != started:
            raise Unavailable(
                f"The database of {service} was restarted.", expected="The database stays up during this step."
            )

    try:
        yield check
    except SlipwayError as error:
        if not isinstance(error, Unavailable):
            check()
        raise
