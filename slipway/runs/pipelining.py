"""A statement that is sent now and waited for later, in one thread: the server works while we go on.

libpq can do this and no layer above it offers it. A thread that waits instead costs more than it gains: it takes turns
with the thread that it is to spare.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

WITHIN_S = 30.0


def send(connection: Connection[Any], statement: str, values: Sequence[str]) -> None:
    """Send one statement with its `$1` … values, each as text; `receive` must be called before anything else is sent."""
    wire = connection.pgconn
    wire.send_query_params(statement.encode(), [value.encode() for value in values])
    wire.flush()  # what does not fit into the socket now is sent by `receive`


def receive(connection: Connection[Any]) -> None:
    """Wait until the server has done what was sent. Raises psycopg's error when it could not, or did not in time."""
    wire = connection.pgconn
    results = []
    while (result := _next(wire)) is not None:
        results.append(result)
    for result in results:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise error_from_result(result)


def _next(wire: PGconn) -> PGresult | None:
    """The next result, or None when there is no more."""
    while (unsent := wire.flush()) or wire.is_busy():
        ready = select.poll()
        ready.register(wire.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        if not ready.poll(WITHIN_S * 1_000):
            raise OperationalError(f"the server did not answer within {WITHIN_S:g} s")
        wire.consume_input()
    return wire.get_result()
