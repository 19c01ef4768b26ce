"""Free ports on 127.0.0.1."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 32_000  # below the ports that systems give to outgoing connections (32768 and above on Linux)


def _candidates() -> Iterator[int]:
    """Ports in a row, from a place that differs between processes, so that two of them seldom choose the same one."""
    begin = os.getpid() * 97
    for number in count(begin):
        yield FIRST + number % (LAST - FIRST)


_next = _candidates()


def free_ports(preferred: Sequence[int]) -> list[int]:
    """One free port for each wish, the wish itself if it is free; 0 wishes for any. Raises OSError if there is none.

    A chosen port is not taken by an outgoing connection before its server listens on it. All are held together while
    they are chosen, so that no port is chosen twice.
    """
    with ExitStack() as held:
        return [held.enter_context(_bound(wish)).getsockname()[1] for wish in preferred]


def _bound(wish: int) -> socket.socket:
    tries = [wish] if wish else []
    tries += [next(_next) for _ in range(200)]
    for port in tries[:-1]:
        try:
            return _listening(port)
        except OSError:
            continue
    return _listening(tries[-1])


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
