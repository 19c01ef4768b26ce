"""Translate database errors of a batch into Slipway's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError

from slipway.core.errors import InvalidInput, SlipwayError, Unavailable

TIMEOUTS = {"57014", "55P03", "40001", "40P01"}  # statement, lock, serialization, deadlock: a smaller batch may succeed
BAD_DATA = ("22", "23", "P0001")  # data exception, integrity constraint, RAISE in a trigger: halving finds the row
GONE = ("08", "57P", "53", "58")  # connection, shutdown, resources, system: a retry may succeed
DatabaseError = DBAPIError | psycopg.Error


class TimedOut(Unavailable):
    """A transaction had a time-out or a deadlock, and was rolled back."""


class Refused(SlipwayError):
    """The database rejected the data of a batch, and the batch was rolled back."""


def _sqlstate(error: DatabaseError) -> str:
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")


def is_bad_data(error: DatabaseError) -> bool:
    """Return whether the error is caused by the data, and not by the statement or a temporary condition."""
    return _sqlstate(error).startswith(BAD_DATA)


def first_line(error: DatabaseError) -> str:
    """Return the first line of the database's message."""
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"])[0][:500]


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Raise TimedOut, Refused, Unavailable or InvalidInput for a database error in backfill `name`."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        state = _sqlstate(error)
        if state in TIMEOUTS:
            raise TimedOut(
                f"{first_line(error)}.", expected="No long locks on the rows, and batches within the time limits."
            ) from None
        if is_bad_data(error):
            raise Refused(
                f"{first_line(error)}.", expected="Data that is valid for the table.", retry_is_safe=True
            ) from None
        if not state or state.startswith(GONE):
            raise Unavailable(
                f"The database of backfill {name}: {first_line(error)}.", expected="A database that answers."
            ) from None
        raise InvalidInput(
            f"The database rejects backfill {name}: {first_line(error)}.",
            expected="SQL that is valid for the table and the role.",
        ) from None
