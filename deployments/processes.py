"""A part of the stack as an operating-system process: started, watched, started again, ended with all its children."""

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

READY_WITHIN_S = 300.0  # a part that dies is noticed at once; a slow machine takes minutes
STEADY_AFTER_S = 30.0  # a part that ran so long was well
END_WITHIN_S = 10.0


@dataclass
class Part:
    """One long-running process. `ready` says whether it does its work yet; it is asked until it does."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    begun: Callable[[int], object] | None = None  # is told the pid of each process
    restarts: int = 0  # in a row, each soon after the one before
    began: float = 0.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process in a session of its own, so that a Ctrl-C in the terminal reaches only its supervisor."""
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
        if self.begun is not None:
            self.begun(self.process.pid)

    def pause_before_restart(self) -> float:
        """Seconds to wait before the next start: none at first, then longer, so that what cannot run does not spin."""
        steady = time.monotonic() - self.began > STEADY_AFTER_S
        self.restarts = 0 if steady else self.restarts + 1
        return min(30.0, 0.25 * float(2**self.restarts - 1))

    def _end_orphans(self) -> None:
        """Kill what a dead process left of its group: it would hold the port that the next one wants."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait_until_ready(self, stopping: Event) -> None:
        """Return once the part is ready. Raises SlipwayError with the end of its log when it dies or takes too long."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.ready():
            if stopping.is_set():
                raise self._failed("was ended before it was ready")
            if not self.alive():
                raise self._failed("ended before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {READY_WITHIN_S:.0f} s")
            stopping.wait(0.05)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """End the process and all that it started: asked first, killed when it does not listen."""
        if self.process is not None:
            end_tree(self.process.pid, self.stop_signal)
            self.process.wait()
            self._end_orphans()  # what was started while we were ending the rest

    def _failed(self, what: str) -> SlipwayError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return SlipwayError(
            f"{self.name} {what}. Its last words: " + " | ".join(line.strip() for line in lines if line.strip()),
            expected=f"{self.name} to answer; its whole log is {self.log}.",
            retry_is_safe=True,
        )


def exit_on_sigterm() -> None:
    """Have a SIGTERM unwind this program like an exit, so that what it started is ended, too."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


def end_tree(pid: int, stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """End a process and its descendants, whatever session they are in."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    _send(root, stop_signal)
    _, left = psutil.wait_procs([root], timeout=END_WITHIN_S)
    for process in [*left, *family[1:]]:
        _send(process, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=END_WITHIN_S / 2)
    for process in left:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=END_WITHIN_S)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def mark(pid: int) -> tuple[int, float] | None:
    """A process as (pid, time of its start), which no later process can be mistaken for.

    On Linux the time counts from the boot, so that it stays the same when somebody sets the clock.
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
    """End those marked processes that still run, and tell how many there were."""
    running = [pid for pid, started in marks if mark(pid) == (pid, started) and pid != os.getpid()]
    for pid in running:
        end_tree(pid, signal.SIGINT)
    return len(running)
