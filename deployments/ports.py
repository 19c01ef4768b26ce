"""Free ports on 127.0.0.1."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

HOST = "127.0.0.1"


def free_ports(preferred: Sequence[int]) -> list[int]:
    """One free port for each wish, the wish itself where it is free; 0 wishes for any.

    All are held together while they are chosen, so that no port is given out twice.
    """
    with ExitStack() as held:
        return [held.enter_context(_bound(wish)).getsockname()[1] for wish in preferred]


def _bound(wish: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, wish))
        listener.listen()
    except OSError:
        listener.close()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((HOST, 0))
    return listener
