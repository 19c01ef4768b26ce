"""Run the commands of a service, with real processes."""

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
    """Return whether a process is still running; a zombie is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(file: Path) -> None:
    """Wait until the two processes whose ids are in a file have ended."""
    pids = [int(line) for line in file.read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 120
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"waited 120 s for {[pid for pid in pids if alive(pid)]} to end"
        time.sleep(0.01)


def test_failed_command_returns_its_exit_code_and_output(tmp_path: Path) -> None:
    """The result has the output of both streams, the exit code and the duration. A failure raises nothing."""
    code = "import os, sys; print(os.getcwd(), flush=True); print('bad', file=sys.stderr); sys.exit(3)"
    started = time.monotonic()
    result = python(tmp_path, code)
    assert result.argv == (sys.executable, "-c", code)
    assert (result.exit_code, result.output) == (3, f"{tmp_path}\nbad")
    assert 0 < result.seconds <= round(time.monotonic() - started, 3)


def test_long_output_is_cut_to_its_last_lines(tmp_path: Path) -> None:
    """The result has the end of a long output, where the error is; `last_lines` sets the number of lines."""
    code = "for n in range(100): print(n)"
    assert python(tmp_path, code).output.splitlines() == [str(n) for n in range(60, 100)]
    argv = [sys.executable, "-c", code]
    result = run_command(argv, cwd=tmp_path, environment={}, timeout_s=120, last_lines=1_000)
    assert len(result.output.splitlines()) == 100


def test_output_that_is_not_utf_8(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are replaced and raise no error."""
    assert python(tmp_path, r"import sys; sys.stdout.buffer.write(b'J\xfcrgen')").output == "J\ufffdrgen"


def test_command_has_no_input(tmp_path: Path) -> None:
    """A command that reads its input finds the end at once and cannot wait for ever."""
    assert run(tmp_path, "cat").exit_code == 0


@pytest.mark.parametrize(
    ("printed", "output"),
    [
        ("postgresql+psycopg://shop:hunter2@db:5432/shop", "***"),
        ("connecting to postgresql://shop:hunter2@db/shop now", "connecting to postgresql://shop:***@db/shop now"),
        ("redis://:other-secret@cache/0", "redis://:***@cache/0"),
        ("token is s3cret-token.", "token is ***."),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
    ],
)
def test_secrets_are_replaced(tmp_path: Path, printed: str, output: str) -> None:
    """The output contains neither the values of the command's environment nor a password in a URL."""
    secrets = {"DATABASE_URL": "postgresql+psycopg://shop:hunter2@db:5432/shop", "TOKEN": "s3cret-token"}
    assert python(tmp_path, f"print({printed!r})", **secrets).output == output


def test_the_longest_secret_is_replaced_first(tmp_path: Path) -> None:
    """If one value begins with another, nothing of the longer value is left."""
    assert python(tmp_path, "print('secret-and-more')", A="secret", B="secret-and-more").output == "***"


def test_missing_program_is_named(tmp_path: Path) -> None:
    """The error for a missing program names the program and the folder."""
    with pytest.raises(SlipwayError) as failed:
        run_command(["no-such-tool"], cwd=tmp_path, environment={}, search=tmp_path / ".venv/bin", timeout_s=120)
    assert str(failed.value) == (
        f"The command 'no-such-tool' was not found. Expected: The command is in {tmp_path}/.venv/bin. "
        "Set up the service's own environment first. A retry is safe."
    )


def test_the_services_own_programs_come_first(tmp_path: Path) -> None:
    """A program in the service's environment takes precedence over one of the same name in the search path."""
    own = tmp_path / "bin" / "uname"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\necho mine; command -v uname\n")
    own.chmod(0o755)
    result = run_command(["uname"], cwd=tmp_path, environment={}, search=own.parent, timeout_s=120)
    assert result.output == f"mine\n{own}"


@pytest.fixture
def out_of_time_once_spawned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the clock jump one hour ahead as soon as the command and its child are running."""
    pids = tmp_path / "pids"

    def monotonic() -> float:
        spawned = pids.exists() and len(pids.read_text().split()) == 2
        return time.monotonic() + 3_600 * spawned

    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(cancellation, "EVERY_S", 0.02)


@pytest.mark.usefixtures("out_of_time_once_spawned")
def test_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """After the timeout neither the command nor its child is running, and a retry is not safe."""
    with pytest.raises(SlipwayError) as failed:
        run(tmp_path, "sh", "-c", f"{SPAWN} wait")
    assert failed.value.failed == "sh did not end within 120 s and was killed."
    assert failed.value.expected == "The command ends in time. Check whether the database waits for a lock."
    assert not failed.value.retry_is_safe
    wait_until_gone(tmp_path / "pids")


@pytest.mark.usefixtures("out_of_time_once_spawned")
def test_remaining_child_is_killed(tmp_path: Path) -> None:
    """If a command ends and its child keeps the output open, the child is killed at the timeout."""
    with pytest.raises(SlipwayError):
        run(tmp_path, "sh", "-c", SPAWN)
    wait_until_gone(tmp_path / "pids")


def test_interrupted_command_is_killed(tmp_path: Path) -> None:
    """A signal to the run ends the command and its children."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            # More than a pipe can hold: once it is written, the test process has started reading and waits for the end.
            run(tmp_path, "sh", "-c", f"{SPAWN} head -c 300000 /dev/zero; kill -USR1 {os.getpid()}; wait")
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    wait_until_gone(tmp_path / "pids")


def test_interrupted_step_kills_its_command(tmp_path: Path) -> None:
    """A step checks for an interruption while its command runs, and kills the command and its children."""
    pids = tmp_path / "pids"

    def interrupt() -> None:
        if pids.exists() and len(pids.read_text().split()) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError), interruptible(by=interrupt):
        run(tmp_path, "sh", "-c", f"{SPAWN} wait")
    wait_until_gone(pids)


def test_own_environment_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's command inherits PATH and a few more, and gets its own variables, but none of Slipway's."""
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://ours")
    monkeypatch.setenv("PREFECT_API_URL", "http://ours")
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    result = run(tmp_path, "env", environment={"DATABASE_URL": "theirs"})
    names = {line.partition("=")[0] for line in result.output.splitlines()}
    assert {"DATABASE_URL", "PATH", "HOME"} <= names
    assert names <= {"DATABASE_URL", "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "PWD", "_"}


def test_arguments_are_not_interpreted_by_a_shell(tmp_path: Path) -> None:
    """Shell syntax in an argument is plain text."""
    printf = shutil.which("printf")
    assert printf is not None
    arguments = ("a; touch pwned", "$HOME", "$(touch pwned)", "`id`", "*", "| cat", "> pwned", "&&", "'", '"')
    result = run(tmp_path, printf, "%s\\n", *arguments)
    assert result.output.splitlines() == list(arguments)
    assert list(tmp_path.iterdir()) == []
