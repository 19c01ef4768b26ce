"""Running a service's own commands, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from slipway.core import cancellation, commands
from slipway.core.cancellation import interruptible
from slipway.core.commands import CommandRun, run_command
from slipway.core.errors import SlipwayError

SPAWN = "echo $$ >pids; sleep 600 & echo $! >>pids; "  # a command with a child, both by pid


def run(folder: Path, *argv: str, environment: Mapping[str, str] | None = None, timeout_s: float = 120) -> CommandRun:
    """Run a command in a folder."""
    return run_command(argv, cwd=folder, environment=environment or {}, timeout_s=timeout_s)


def python(folder: Path, code: str, **environment: str) -> CommandRun:
    """Run Python code."""
    return run(folder, sys.executable, "-c", code, environment=environment)


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(file: Path) -> None:
    """Wait until the processes whose ids stand in a file have ended."""
    pids = [int(line) for line in file.read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 120
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"waited 120 s for {[pid for pid in pids if alive(pid)]} to end"
        time.sleep(0.01)


def test_exit_code_and_output_are_kept(tmp_path: Path) -> None:
    """What a command said on both streams, its exit code and its time are kept, and failing is no exception."""
    code = "import os, sys; print(os.getcwd(), flush=True); print('bad', file=sys.stderr); sys.exit(3)"
    began = time.monotonic()
    ran = python(tmp_path, code)
    assert ran.argv == (sys.executable, "-c", code)
    assert (ran.exit_code, ran.output) == (3, f"{tmp_path}\nbad")
    assert 0 < ran.seconds <= round(time.monotonic() - began, 3)


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    """Of a long output the end is kept, where the error stands; more when it is asked for."""
    code = "for n in range(100): print(n)"
    assert python(tmp_path, code).output.splitlines() == [str(n) for n in range(60, 100)]
    argv = [sys.executable, "-c", code]
    whole = run_command(argv, cwd=tmp_path, environment={}, timeout_s=120, last_lines=1_000)
    assert len(whole.output.splitlines()) == 100


def test_output_that_is_no_utf_8(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are replaced and break nothing."""
    assert python(tmp_path, r"import sys; sys.stdout.buffer.write(b'J\xfcrgen')").output == "J\ufffdrgen"


def test_a_command_reads_no_input(tmp_path: Path) -> None:
    """A command that asks a question finds the end of its input and cannot wait for ever."""
    assert run(tmp_path, "cat").exit_code == 0


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        ("postgresql+psycopg://shop:hunter2@db:5432/shop", "***"),
        ("connecting to postgresql://shop:hunter2@db/shop now", "connecting to postgresql://shop:***@db/shop now"),
        ("redis://:other-secret@cache/0", "redis://:***@cache/0"),
        ("token is s3cret-token.", "token is ***."),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
    ],
)
def test_secrets_are_replaced(tmp_path: Path, printed: str, kept: str) -> None:
    """The values that a command was given, and every password in a URL, do not stand in its output."""
    secrets = {"DATABASE_URL": "postgresql+psycopg://shop:hunter2@db:5432/shop", "TOKEN": "s3cret-token"}
    assert python(tmp_path, f"print({printed!r})", **secrets).output == kept


def test_the_longest_secret_is_replaced_first(tmp_path: Path) -> None:
    """When one value begins with another, nothing of the longer one is left."""
    assert python(tmp_path, "print('secret-and-more')", A="secret", B="secret-and-more").output == "***"


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    """A program that does not exist is told with the place where it was looked for."""
    with pytest.raises(SlipwayError) as failed:
        run_command(["no-such-tool"], cwd=tmp_path, environment={}, search=tmp_path / ".venv/bin", timeout_s=120)
    assert str(failed.value) == (
        f"There is no command 'no-such-tool'. Expected: It in {tmp_path}/.venv/bin; has the service's own environment "
        "been set up? A retry is safe."
    )


def test_the_services_own_programs_come_first(tmp_path: Path) -> None:
    """A program in the service's environment is taken before one of the same name on the path."""
    own = tmp_path / "bin" / "uname"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\necho mine; command -v uname\n")
    own.chmod(0o755)
    ran = run_command(["uname"], cwd=tmp_path, environment={}, search=own.parent, timeout_s=120)
    assert ran.output == f"mine\n{own}"


@pytest.fixture
def out_of_time_once_spawned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps an hour ahead as soon as the command and its child run."""
    pids = tmp_path / "pids"

    def monotonic() -> float:
        spawned = pids.exists() and len(pids.read_text().split()) == 2
        return time.monotonic() + 3_600 * spawned

    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(cancellation, "EVERY_S", 0.02)


@pytest.mark.usefixtures("out_of_time_once_spawned")
def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """After the time-out neither the command nor a child of it is left, and a person has to look."""
    with pytest.raises(SlipwayError) as failed:
        run(tmp_path, "sh", "-c", f"{SPAWN} wait")
    assert failed.value.failed == "sh did not end within 120 s and was killed."
    assert failed.value.expected == "It to end in time; look at what the database waits for."
    assert not failed.value.retry_is_safe
    wait_until_gone(tmp_path / "pids")


@pytest.mark.usefixtures("out_of_time_once_spawned")
def test_a_child_that_stays_behind_is_killed(tmp_path: Path) -> None:
    """If a command ends and leaves a child on its output, both are over at the time-out."""
    with pytest.raises(SlipwayError):
        run(tmp_path, "sh", "-c", SPAWN)
    wait_until_gone(tmp_path / "pids")


def test_a_command_that_is_interrupted_is_killed(tmp_path: Path) -> None:
    """When the run is interrupted, the command ends with its children."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            # More than a pipe holds: when it is written, we are past the start and wait for the end.
            run(tmp_path, "sh", "-c", f"{SPAWN} head -c 300000 /dev/zero; kill -USR1 {os.getpid()}; wait")
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    wait_until_gone(tmp_path / "pids")


def test_a_step_that_is_interrupted_ends_its_command(tmp_path: Path) -> None:
    """A step asks now and then whether it is interrupted, and then its command ends with its children."""
    pids = tmp_path / "pids"

    def interrupt() -> None:
        if pids.exists() and len(pids.read_text().split()) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError), interruptible(by=interrupt):
        run(tmp_path, "sh", "-c", f"{SPAWN} wait")
    wait_until_gone(pids)


def test_our_own_environment_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's command gets the path and the like, and its own variables, but nothing of ours."""
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://ours")
    monkeypatch.setenv("PREFECT_API_URL", "http://ours")
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    ran = run(tmp_path, "env", environment={"DATABASE_URL": "theirs"})
    names = {line.partition("=")[0] for line in ran.output.splitlines()}
    assert {"DATABASE_URL", "PATH", "HOME"} <= names
    assert names <= {"DATABASE_URL", "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "PWD", "_"}


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    """What would mean something to a shell is only text."""
    printf = shutil.which("printf")
    assert printf is not None
    words = ("a; touch pwned", "$HOME", "$(touch pwned)", "`id`", "*", "| cat", "> pwned", "&&", "'", '"')
    ran = run(tmp_path, printf, "%s\\n", *words)
    assert ran.output.splitlines() == list(words)
    assert list(tmp_path.iterdir()) == []
