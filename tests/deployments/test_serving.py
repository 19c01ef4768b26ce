"""The CPU priority of the admin service, and the interpreter's settings in its process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.admin.interpreter import SWITCH_INTERVAL_S, fast_thread_switching
from slipway.deployments.serving import NICE, admin_part, raise_priority

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]  # runs until the test stops it
REAL_TIME = os.SCHED_RR | os.SCHED_RESET_ON_FORK


def test_a_process_gets_priority_over_others() -> None:
    """The process and, on Linux with autogroups, its session get priority. Without the permission, nothing changes."""
    with subprocess.Popen(SLEEPER, start_new_session=True) as process:
        try:
            raised = raise_priority(process.pid)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == (NICE if raised else 0)
            group = Path(f"/proc/{process.pid}/autogroup")
            assert not raised or not group.exists() or group.read_text().endswith(f"nice {NICE}\n")
            expected = REAL_TIME if raised and _may_be_real_time() else os.SCHED_OTHER
            assert os.sched_getscheduler(process.pid) == expected
        finally:
            process.kill()


def test_other_threads_are_not_real_time() -> None:
    """Only the thread that answers requests is real-time. Other threads, which read the store and hash passwords, are not."""
    code = "import os, threading; t = threading.Thread(target=lambda: print(os.sched_getscheduler(0))); "
    argv = [sys.executable, "-c", code + "input(); t.start(); t.join()"]
    with subprocess.Popen(argv, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        raise_priority(process.pid)
        output, _ = process.communicate(b"\n", timeout=120)
    assert int(output) == os.SCHED_OTHER


def _may_be_real_time() -> bool:
    with subprocess.Popen(SLEEPER) as process:
        try:
            os.sched_setscheduler(process.pid, REAL_TIME, os.sched_param(1))
        except OSError:
            return False
        finally:
            process.kill()
    return True


def test_a_missing_permission_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission the function returns false and changes nothing."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert not raise_priority(os.getpid())
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_an_ended_process_is_no_error() -> None:
    """A process may die right after its start. That is no error here, because the supervisor notices it."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert not raise_priority(process.pid)


def test_every_admin_process_gets_priority(tmp_path: Path) -> None:
    """Every process of the admin service gets priority, also after a restart."""
    part, pids = admin_part({}, 1, tmp_path / "log"), []
    assert part.on_start is raise_priority
    part.argv, part.on_start = SLEEPER, pids.append
    for _ in range(2):
        part.start()
        part.stop()
        assert part.process is not None and pids[-1:] == [part.process.pid]
    assert len(set(pids)) == 2


def test_the_interpreter_settings_are_restored() -> None:
    """A program that runs the service in a thread, like the tests, gets its own settings back."""
    gc.unfreeze()  # the tests freeze what lives as long as their process
    before = sys.getswitchinterval()
    with fast_thread_switching():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
        assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() == pytest.approx(before)
    assert gc.get_freeze_count() == 0
