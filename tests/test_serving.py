"""The admin service's precedence, and the interpreter's settings of a process that answers people."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from admin.quickness import SWITCHED_S, answering_quickly
from deployments.serving import NICE, admin_part, put_first


def test_a_process_put_first_goes_before_others() -> None:
    """It and, where Linux weighs sessions, its session; a user without that right is told no, and nothing changes."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleeper, start_new_session=True) as process:
        try:
            put = put_first(process.pid)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == (NICE if put else 0)
            group = Path(f"/proc/{process.pid}/autogroup")
            assert not put or not group.exists() or group.read_text().endswith(f"nice {NICE}\n")
        finally:
            process.kill()


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
    part.argv, part.begun = [sys.executable, "-c", "import time; time.sleep(60)"], told.append
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
