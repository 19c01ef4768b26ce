"""What a database says of a batch, as our own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError

from slipway.core.errors import InvalidInput, SlipwayError, Unavailable

TIMEOUTS = {"57014", "55P03", "40001", "40P01"}  # statement, lock, serialization, deadlock: smaller may pass
BAD_DATA = ("22", "23", "P0001")  # data exception, integrity constraint, RAISE in a trigger: smaller finds the row
GONE = ("08", "57P", "53", "58")  # connection, shutdown, resources, system: asking again may help
DatabaseError = DBAPIError | psycopg.Error


class TimedOut(Unavailable):
    """A transaction met a time-out or a deadlock; nothing of it was done."""


class Refused(SlipwayError):
    """The database refused the data of a batch; nothing of it was done."""


def _sqlstate(error: DatabaseError) -> str:
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")


def is_bad_data(error: DatabaseError) -> bool:
    """Whether the database refuses the data, and not the statement or the moment."""
    return _sqlstate(error).startswith(BAD_DATA)


def words(error: DatabaseError) -> str:
    """What the database says, in one line."""
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason"])[0][:500]


@contextmanager
def told(name: str) -> Iterator[None]:
    """What the database says in this block of backfill `name` becomes TimedOut, Refused, Unavailable or InvalidInput."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        state = _sqlstate(error)
        if state in TIMEOUTS:
            raise TimedOut(f"{words(error)}.", expected="Rows that are free, and batches that are quick.") from None
        if is_bad_data(error):
            raise Refused(f"{words(error)}.", expected="Data that fits the table.", retry_is_safe=True) from None
        if not state or state.startswith(GONE):
            raise Unavailable(
                f"The database of backfill {name}: {words(error)}.", expected="A database that answers."
            ) from None
        raise InvalidInput(
            f"The database refuses backfill {name}: {words(error)}.", expected="SQL that fits the table."
        ) from None
