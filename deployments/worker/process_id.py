"""A run's process as `host:pid:start`, which no later process can be mistaken for."""

from __future__ import annotations

import socket

from slipway.deployments.processes import mark


def infrastructure_id(pid: int) -> str:
    """The identifier of a process of this host."""
    found = mark(pid)
    return f"{socket.gethostname()}:{pid}:{found[1] if found else 0.0}"


def parse_infrastructure_id(identifier: str) -> tuple[str, int, float]:
    """(host, pid, time of its start). Raises ValueError for what is not one of ours."""
    host, pid, started = identifier.rsplit(":", 2)
    return host, int(pid), float(started)


def is_alive(identifier: str) -> bool:
    """Whether the process of an identifier of this host still runs."""
    _, pid, started = parse_infrastructure_id(identifier)
    return mark(pid) == (pid, started)
