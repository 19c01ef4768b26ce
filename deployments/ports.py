"""Free ports on 127.0.0.1."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 32_000  # below the ephemeral ports of outgoing connections (32768 and above on Linux)


def _candidates() -> Iterator[int]:
    """Yield consecutive ports. The first one depends on the process id, so that two processes rarely choose the same port."""
    begin = os.getpid() * 97
    for number in count(begin):
        yield FIRST + number % (LAST - FIRST)


_port_sequence = _candidates()


def free_ports(preferred: Sequence[int]) -> list[int]:
    """Return one free port per preferred port: the preferred one if it is free, else another. 0 means any port.

    Outgoing connections do not use ports of this range, so a port stays free until its server listens. All ports are
    bound at the same time while they are chosen, so that no port is chosen twice. Raises OSError if none is free.
    """
    with ExitStack() as sockets:
        return [sockets.enter_context(_bound(port)).getsockname()[1] for port in preferred]


def _bound(preferred: int) -> socket.socket:
    candidates = [preferred] if preferred else []
    candidates += [next(_port_sequence) for _ in range(200)]
    for port in candidates[:-1]:
        try:
            return _listening(port)
        except OSError:
            continue
    return _listening(candidates[-1])


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
