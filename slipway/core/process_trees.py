"""Ending a process together with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

GRACE_S = 10.0
POLL_S = 0.02


def end_tree(pid: int, stop_signal: signal.Signals = signal.SIGTERM, *, grace_s: float = GRACE_S) -> None:
    """End a process, its descendants, and the other processes of its session; return when they have ended.

    The process gets `stop_signal` and has `grace_s` seconds to end its own children. Then the rest gets SIGTERM, and after
    half of that time SIGKILL. With SIGKILL as `stop_signal` all of them are killed at once. It does nothing if they have ended.
    A process that nobody has waited for counts as ended.
    """
    family = _family(pid)
    if stop_signal != signal.SIGKILL:
        root = [process for process in family if process.pid == pid]
        _send(root, stop_signal)
        alive = _wait(root, grace_s)
        _send([*alive, *(process for process in family if process.pid != pid)], signal.SIGTERM)
        family = _wait(family, grace_s / 2)
    _send(family, signal.SIGKILL)
    _wait(family, grace_s)


def _family(pid: int) -> list[psutil.Process]:
    """The process, its descendants, and the members of the session that it leads: also those whose parent has ended."""
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        found = {process.pid: process for process in [root, *root.children(recursive=True)]}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == pid:
                found.setdefault(process.pid, process)
    return list(found.values())


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)


def _wait(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Wait until the processes have ended, and return those that have not. psutil's own wait takes a zombie for alive."""
    deadline = time.monotonic() + within_s
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
