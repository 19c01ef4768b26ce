"""Send a statement now and wait for its result later, in one thread: the server works while the caller continues.

libpq supports this, but no layer above it does. A second thread that waits would cost more than it saves, because it
takes turns with the caller's thread.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

TIMEOUT_S = 30.0


def send(connection: Connection[Any], statement: str, values: Sequence[str]) -> None:
    """Send one statement with its `$1` … values, each as text; `receive` must be called before anything else is sent."""
    pgconn = connection.pgconn
    pgconn.send_query_params(statement.encode(), [value.encode() for value in values])
    pgconn.flush()  # `receive` sends what does not fit into the socket now


def receive(connection: Connection[Any]) -> None:
    """Wait for the result of the sent statement. Raises psycopg's error if the statement failed or took too long."""
    pgconn = connection.pgconn
    results = []
    while (result := _next(pgconn)) is not None:
        results.append(result)
    for result in results:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise error_from_result(result)


def _next(pgconn: PGconn) -> PGresult | None:
    """Wait for the next result and return it, or None if there are no more."""
    while (unsent := pgconn.flush()) or pgconn.is_busy():
        poller = select.poll()
        poller.register(pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        if not poller.poll(TIMEOUT_S * 1_000):
            raise OperationalError(f"the server did not answer within {TIMEOUT_S:g} s")
        pgconn.consume_input()
    return pgconn.get_result()
