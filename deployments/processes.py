"""A part of the stack as an operating-system process: start, restart and stop it with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import psutil

from slipway.core.errors import SlipwayError
from slipway.core.process_trees import end_tree

READY_WITHIN_S = 300.0  # long enough for a slow machine; a dead process is noticed at once
STEADY_AFTER_S = 30.0  # a process that ran this long is healthy: its restart count is reset


@dataclass
class Part:
    """One long-running process. `ready` returns whether the process serves; it is called until it returns true."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    on_start: Callable[[int], object] | None = None  # called with the pid of each started process
    restarts: int = 0  # consecutive, each soon after the previous one
    began: float = 0.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process in its own session, so that Ctrl-C in the terminal reaches only the supervisor."""
        self._end_orphans()
        self.began = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.argv),
                cwd=self.directory,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self.on_start is not None:
            self.on_start(self.process.pid)

    def pause_before_restart(self) -> float:
        """Return the seconds to wait before the next start: 0 at first, then longer, so that a broken process does not spin."""
        steady = time.monotonic() - self.began > STEADY_AFTER_S
        self.restarts = 0 if steady else self.restarts + 1
        return min(30.0, 0.25 * float(2**self.restarts - 1))

    def _end_orphans(self) -> None:
        """Kill the rest of a dead process's group, which would still hold the port of the next process."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait_until_ready(self, stopping: Event) -> None:
        """Wait until the part is ready. Raises SlipwayError with the end of its log if it dies or takes too long."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.ready():
            if stopping.is_set():
                raise self._failed("was stopped before it was ready")
            if not self.alive():
                raise self._failed("exited before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {READY_WITHIN_S:.0f} s")
            stopping.wait(0.05)

    def alive(self) -> bool:
        """Return whether the process is running."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Stop the process and all its descendants: send the stop signal first, kill after a timeout."""
        if self.process is not None:
            end_tree(self.process.pid, self.stop_signal)
            self.process.wait()
            self._end_orphans()  # processes that were started during the stop

    def _failed(self, event: str) -> SlipwayError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return SlipwayError(
            f"{self.name} {event}. Last log lines: " + " | ".join(line.strip() for line in lines if line.strip()),
            expected=f"{self.name} starts and answers. The complete log is {self.log}.",
            retry_is_safe=True,
        )


def exit_on_sigterm() -> None:
    """Let SIGTERM raise SystemExit in this program, so that it also stops the processes it started."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


def mark(pid: int) -> tuple[int, float] | None:
    """Return a process as (pid, start time), which identifies it even if the pid is reused. Return None if it is gone.

    On Linux the time counts from the boot, so that setting the clock does not change it.
    """
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
    stat = Path(f"/proc/{pid}/stat")
    try:
        return pid, float(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])
    except OSError:
        return pid, created


def end_marked(marks: Sequence[tuple[int, float]]) -> int:
    """Stop the marked processes that are still running. Return their number."""
    running = [pid for pid, started in marks if mark(pid) == (pid, started) and pid != os.getpid()]
    for pid in running:
        end_tree(pid, signal.SIGINT)
    return len(running)
