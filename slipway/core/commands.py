"""Run the commands of a service: without a shell, in the service's environment, with secrets removed from the output."""

from __future__ import annotations

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
from slipway.core.process_trees import end_tree

# The variables of our own environment that a command inherits: enough to start, none of Slipway's own.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE")
LAST_LINES = 40


class CommandRun(FrozenModel):
    """The result of one command of the service. It contains no secrets: these are only in the command's environment."""

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
    """Run `argv`, wait for it, and return its exit code and its last output lines (stderr only if it failed).

    Raises SlipwayError if the program does not exist or does not end within `timeout_s` seconds. On an interruption,
    the command and its children are killed.
    """
    full_environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(environment)
    if search is not None:
        full_environment["PATH"] = f"{search}{os.pathsep}{full_environment.get('PATH', os.defpath)}"
    program = shutil.which(argv[0], path=full_environment.get("PATH"))
    if program is None:
        raise SlipwayError(
            f"The command {argv[0]!r} was not found.",
            expected=f"The command is in {search or 'the search path'}. Set up the service's own environment first.",
            retry_is_safe=True,
        )
    started = time.monotonic()
    code, output = _run([program, *argv[1:]], cwd, full_environment, timeout_s)
    return CommandRun(
        argv=tuple(argv),
        seconds=round(time.monotonic() - started, 3),
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
        start_new_session=True,  # `end_tree` then finds all of its children
    ) as process:
        try:
            stdout, stderr = outputs(process, timeout_s)
        except BaseException as error:
            end_tree(process.pid, signal.SIGKILL)
            process.wait()  # the `with` block does not wait after a second interrupt
            if isinstance(error, subprocess.TimeoutExpired):
                raise _too_slow(argv[0], timeout_s) from None
            raise
    output = stdout if process.returncode == 0 else stdout + stderr  # the output of a success has no warnings in it
    return process.returncode, output.decode("utf-8", "replace")


def outputs(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[bytes, bytes]:
    """Wait until the process ends and return (stdout, stderr); check for an interruption while waiting.

    Raises subprocess.TimeoutExpired after `timeout_s` seconds, or the exception of the interruption. In both cases
    the caller must end the process.
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
        expected="The command ends in time. Check whether the database waits for a lock.",
        retry_is_safe=False,
    )


def _without_secrets(output: str, environment: Mapping[str, str]) -> str:
    """Return the output with every value of the environment and every password in a URL replaced by `***`."""
    text = output
    for value in sorted(environment.values(), key=len, reverse=True):
        if len(value) >= 6:
            text = text.replace(value, "***")
    return re.sub(r"(://[^:/@\s]*:)[^/@\s]+@", r"\1***@", text)
