"""Stop every process that a test run started, however the run ends. A pytest plugin, also used by `tests.run`.

On Linux, the children of a dead process get a new parent: the nearest ancestor that is a subreaper
(PR_SET_CHILD_SUBREAPER). `tests.run` is one, so it can stop the processes that a killed test process has started. If
`tests.run` is killed, pytest is interrupted and does the same.
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
    """Become the parent of every descendant whose own parent dies. Do nothing if the system is not Linux."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def follow_parent(number: signal.Signals) -> None:
    """Let the system send this process a signal when its parent dies. Do nothing if the system is not Linux."""
    _prctl(PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_descendants() -> list[str]:
    """Stop all descendants of this process, also those that start during the stop. Return the names of the processes."""
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
    """Print the names of the stopped processes to standard error."""
    if names:
        print(
            f"stopped {len(names)} processes that the tests left running: {', '.join(sorted(set(names)))}",
            file=sys.stderr,
        )


def pytest_configure(config: pytest.Config) -> None:
    """Handle SIGTERM and SIGINT like Ctrl-C, so that fixtures are torn down. Shell background jobs ignore SIGINT by default."""
    if not hasattr(config, "workerinput"):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def pytest_keyboard_interrupt() -> None:
    """Adopt the children of the test processes, which are about to be killed.

    Not earlier: tests that kill a process expect that init reaps its children.
    """
    adopt_orphans()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop the processes that are left after the fixtures."""
    report(end_descendants())
