"""The identifier of a run's process: `host:pid:start time`. The start time excludes a later process with the same pid."""

from __future__ import annotations

import socket

from slipway.deployments.processes import mark


def infrastructure_id(pid: int) -> str:
    """Return the identifier of a process on this host."""
    process = mark(pid)
    return f"{socket.gethostname()}:{pid}:{process[1] if process else 0.0}"


def parse_infrastructure_id(identifier: str) -> tuple[str, int, float]:
    """Return (host, pid, start time). Raises ValueError if the identifier has another format."""
    host, pid, started = identifier.rsplit(":", 2)
    return host, int(pid), float(started)


def is_alive(identifier: str) -> bool:
    """Return whether the process is still running. The identifier must be from this host."""
    _, pid, started = parse_infrastructure_id(identifier)
    return mark(pid) == (pid, started)
