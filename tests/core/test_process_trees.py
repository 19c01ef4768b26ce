"""Ending a process with everything that it started."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from slipway.core.process_trees import end_tree
from tests.stack.runs import wait_for

SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def start(code: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """Start a session leader that starts another process, and return both once they run."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as output:
        return process, psutil.Process(int(output.readline()))


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, even if nobody has waited for it."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def parent_of(child: str, *, own_session: bool = False, then: str = "time.sleep(600)", ignore: bool = False) -> str:
    """Return the code of a process that starts a child, prints the child's pid when it runs, and then runs `then`."""
    return (
        "import signal, subprocess, sys, time\n"
        + ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if ignore else "")
        + f"child = subprocess.Popen([sys.executable, '-c', {child!r}], "
        + f"stdout=subprocess.PIPE, start_new_session={own_session})\n"
        + "child.stdout.readline()\nprint(child.pid, flush=True)\n"
        + then
    )


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("own_session", [False, True], ids=["same session", "own session"])
def test_children_end_too(stop_signal: signal.Signals, own_session: bool) -> None:
    """A child that ignores SIGTERM is killed, in whichever session it is."""
    process, child = start(parent_of(SLEEP, own_session=own_session))
    end_tree(process.pid, stop_signal, grace_s=0.5)
    assert has_ended(child) and process.wait(10) != 0


def test_a_process_that_ignores_the_signal_is_killed() -> None:
    """After the grace period it gets SIGKILL."""
    process, _ = start(parent_of(SLEEP, ignore=True))
    end_tree(process.pid, grace_s=0.5)
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGKILL])
def test_the_rest_of_a_session_whose_leader_has_ended(stop_signal: signal.Signals) -> None:
    """A process whose parent has ended still belongs to the session."""
    process, child = start(parent_of(SLEEP, then="sys.exit(0)"))
    wait_for(lambda: has_ended(psutil.Process(process.pid)), "the leader to end", 30)
    end_tree(process.pid, stop_signal, grace_s=0.5)
    assert has_ended(child) and process.wait(10) == 0


def test_a_process_that_has_ended() -> None:
    """Nothing is done, and nothing else is harmed."""
    ended = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    ended.wait(10)
    with subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL) as other:
        end_tree(ended.pid)
        assert other.poll() is None
        other.kill()
