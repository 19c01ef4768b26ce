"""Queries that stand in a change file, run as they were written; what a database says of them is the file's fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from slipway.core.errors import InvalidInput


def verbatim(query: str) -> TextClause:
    """As it was written: SQLAlchemy must not take `:name` in it for a parameter."""
    return text(query.replace(":", "\\:"))


@contextmanager
def told_of(query: str) -> Iterator[None]:
    """What the database says of the query becomes InvalidInput; that it is away stays what it is."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason"])[0]
        raise InvalidInput(
            f"The database refuses the query {query[:200]!r}: {reason}.", expected="A query that reads, and only reads."
        ) from None
