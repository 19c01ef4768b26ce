"""A server that is restarted in the middle makes a command fail that is not to blame: the step is to be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slipway.core.errors import SlipwayError, Unavailable
from slipway.databases.database import Database


@contextmanager
def told_restarts(database: Database, of: str) -> Iterator[Callable[[], None]]:
    """Within the block a SlipwayError is Unavailable instead when the database's server was restarted meanwhile.

    What is given raises the same: for a failure that is told and not raised.
    """
    started = database.server_started()

    def check() -> None:
        if database.server_started() != started:
            raise Unavailable(f"The database of {of} was restarted.", expected="It to stay up.")

    try:
        yield check
    except SlipwayError as error:
        if not isinstance(error, Unavailable):
            check()
        raise
