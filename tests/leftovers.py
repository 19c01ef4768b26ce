"""End every process that a test run started, however the run ends. A pytest plugin, and the base of `tests.run`.

Linux gives the children of a dead process to their nearest ancestor that asked for them (PR_SET_CHILD_SUBREAPER).
`tests.run` asks for them, so it still knows what a killed test process has started, and ends it. If it is killed
itself, pytest is interrupted and does the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections.abc import Sequence

import psutil
import pytest

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
END_WITHIN_S = 15.0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies. Does nothing where the system is not Linux."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def follow_parent(number: signal.Signals) -> None:
    """Have the system send this process a signal when its parent dies. Does nothing where the system is not Linux."""
    _prctl(PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_descendants() -> list[str]:
    """End all descendants of this process, and those that they start meanwhile; return the names of the processes."""
    names: list[str] = []
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        family = psutil.Process().children(recursive=True)
        names += [_name(process) for process in family if number == signal.SIGTERM]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        psutil.wait_procs(family, timeout=END_WITHIN_S)
    return names


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return "?"


def report(names: Sequence[str]) -> None:
    """Say what was left."""
    if names:
        print(f"ended {len(names)} processes that the tests left: {', '.join(sorted(set(names)))}", file=sys.stderr)


def pytest_configure(config: pytest.Config) -> None:
    """End on SIGTERM as on Ctrl-C, so that fixtures are torn down; a shell's background job ignores both by itself."""
    if not hasattr(config, "workerinput"):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def pytest_keyboard_interrupt() -> None:
    """Adopt what the test processes leave that are about to be killed.

    Not before: tests that kill a process expect that init reaps its children.
    """
    adopt_orphans()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End what is left after the fixtures."""
    report(end_descendants())
