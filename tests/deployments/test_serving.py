"""The admin service's precedence, and the interpreter's settings of a process that answers people."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.admin.interpreter import SWITCHED_S, answering_quickly
from slipway.deployments.serving import NICE, admin_part, put_first

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]  # it runs until the test ends it
REAL_TIME = os.SCHED_RR | os.SCHED_RESET_ON_FORK


def test_a_process_put_first_goes_before_others() -> None:
    """It and, where Linux weighs sessions, its session; a user without that right is told no, and nothing changes."""
    with subprocess.Popen(SLEEPER, start_new_session=True) as process:
        try:
            put = put_first(process.pid)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == (NICE if put else 0)
            group = Path(f"/proc/{process.pid}/autogroup")
            assert not put or not group.exists() or group.read_text().endswith(f"nice {NICE}\n")
            expected = REAL_TIME if put and _may_be_real_time() else os.SCHED_OTHER
            assert os.sched_getscheduler(process.pid) == expected
        finally:
            process.kill()


def test_what_a_process_put_first_starts_is_not_real_time() -> None:
    """Only what answers goes before all; its threads, which look into stores and hash passwords, share as others do."""
    say = "import os, threading; t = threading.Thread(target=lambda: print(os.sched_getscheduler(0))); "
    argv = [sys.executable, "-c", say + "input(); t.start(); t.join()"]
    with subprocess.Popen(argv, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        put_first(process.pid)
        told, _ = process.communicate(b"\n", timeout=120)
    assert int(told) == os.SCHED_OTHER


def _may_be_real_time() -> bool:
    with subprocess.Popen(SLEEPER) as process:
        try:
            os.sched_setscheduler(process.pid, REAL_TIME, os.sched_param(1))
        except OSError:
            return False
        finally:
            process.kill()
    return True


def test_where_it_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is no, and the service starts all the same."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert not put_first(os.getpid())
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_process_that_is_gone_is_no_error() -> None:
    """It may have died as soon as it was started; its supervisor finds that out."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert not put_first(process.pid)


def test_the_admin_service_is_put_first(tmp_path: Path) -> None:
    """Each process of it, also one that is started again."""
    part, told = admin_part({}, 1, tmp_path / "log"), []
    assert part.begun is put_first
    part.argv, part.begun = SLEEPER, told.append
    for _ in range(2):
        part.start()
        part.stop()
        assert part.process is not None and told[-1:] == [part.process.pid]
    assert len(set(told)) == 2


def test_the_interpreter_is_given_back_as_it_was() -> None:
    """Whoever runs the service in a thread, as tests do, has their own settings back behind it."""
    before, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    with answering_quickly():
        assert sys.getswitchinterval() == pytest.approx(SWITCHED_S)
        assert gc.get_freeze_count() > frozen
    assert sys.getswitchinterval() == pytest.approx(before)
    assert gc.get_freeze_count() == frozen == 0
