"""Running a service's own commands: never through a shell, in the service's environment, secrets replaced in the output."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway.core import cancellation
from slipway.core.errors import SlipwayError
from slipway.core.frozen import FrozenModel

# What a command gets of our own environment: enough to start, nothing that is ours.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE")
LAST_LINES = 40


class CommandRun(FrozenModel):
    """One command of the service as it was run: no secrets, they stand in its environment."""

    argv: tuple[str, ...]
    seconds: float
    exit_code: int
    output: str  # stdout and stderr, the last lines, secrets replaced


def run_command(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    search: Path | None = None,
    timeout_s: float,
    last_lines: int = LAST_LINES,
) -> CommandRun:
    """Run `argv` and wait for it; the answer holds its exit code and the end of its output (stderr only of a failure).

    Raises SlipwayError when the program does not exist or does not end within `timeout_s` seconds. A command
    that is interrupted is killed with its children.
    """
    surroundings = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | dict(environment)
    if search is not None:
        surroundings["PATH"] = f"{search}{os.pathsep}{surroundings.get('PATH', os.defpath)}"
    program = shutil.which(argv[0], path=surroundings.get("PATH"))
    if program is None:
        raise SlipwayError(
            f"There is no command {argv[0]!r}.",
            expected=f"It in {search or 'the path'}; has the service's own environment been set up?",
            retry_is_safe=True,
        )
    began = time.monotonic()
    code, output = _run([program, *argv[1:]], cwd, surroundings, timeout_s)
    return CommandRun(
        argv=tuple(argv),
        seconds=round(time.monotonic() - began, 3),
        exit_code=code,
        output=_without_secrets("\n".join(output.splitlines()[-last_lines:]), environment),
    )


def _run(argv: list[str], cwd: Path, environment: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a group of its own, so that it can be killed with its children
    ) as process:
        try:
            told, warned = outputs(process, timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise _too_slow(argv[0], timeout_s) from None
            raise
    whole = told if process.returncode == 0 else told + warned  # a warning is no part of what a command answers
    return process.returncode, whole.decode("utf-8", "replace")


def outputs(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[bytes, bytes]:
    """(stdout, stderr) once the process has ended; asks now and then whether the step is interrupted.

    Raises subprocess.TimeoutExpired after `timeout_s` seconds, or what interrupts; the process is the caller's to end.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return process.communicate(timeout=min(cancellation.EVERY_S, max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            cancellation.check()
            if time.monotonic() >= deadline:
                raise


def _too_slow(program: str, timeout_s: float) -> SlipwayError:
    return SlipwayError(
        f"{Path(program).name} did not end within {timeout_s:g} s and was killed.",
        expected="It to end in time; look at what the database waits for.",
        retry_is_safe=False,
    )


def _without_secrets(output: str, environment: Mapping[str, str]) -> str:
    """The output; every value that the command got, and every password in a URL, is replaced."""
    text = output
    for value in sorted(environment.values(), key=len, reverse=True):
        if len(value) >= 6:
            text = text.replace(value, "***")
    return re.sub(r"(://[^:/@\s]*:)[^/@\s]+@", r"\1***@", text)
