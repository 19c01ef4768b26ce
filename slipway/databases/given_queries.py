"""Queries from a change file. They run as written, and an error from the database is an error in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from slipway.core.errors import InvalidInput


def verbatim(query: str) -> TextClause:
    """Return the query as a clause without parameters: colons are escaped, so that `:name` stays as written."""
    return text(query.replace(":", "\\:"))


@contextmanager
def translate_errors(query: str) -> Iterator[None]:
    """Raise InvalidInput for an error that the query causes. A lost connection keeps its own error."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"])[0]
        raise InvalidInput(
            f"The database rejects the query {query[:200]!r}: {reason}.", expected="A valid query that only reads."
        ) from None
