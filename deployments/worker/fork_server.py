"""The warm parent: a single-threaded process that has Prefect and the flows imported, and forks one child a run.

It speaks lines of JSON. It reads {"run": id, "environment": {…}} and {"retire": true} from its standard input, and
writes {"started": id, "pid": n} and {"ended": id, "code": n}. When its standard input closes, its worker is gone: it
kills its children, so that no orphan goes on, and ends.

Only this process forks, and it has one thread, so no lock is ever held in a child by a thread that is not there.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.deployments.jobs_file import FILE, read_jobs

FIRST = ("prefect.engine", "prefect.flow_engine")
LATER = ("slipway.measurement.comparison_chart", "matplotlib.figure")  # only the last step imports them
IDLE_S = 2.0
KEPT_BY_PREFECT = "PREFECT__"  # variables of the run itself; every other PREFECT_ variable is a setting


def main() -> None:
    """Import, fork on request, tell what ended, until the standard input closes or the last child of a retired parent ends."""
    flows = [job.entrypoint.rpartition(".")[0] for job in read_jobs(FILE).deployments]
    preload([*FIRST, *flows])
    ForkServer().serve()


def preload(modules: Sequence[str]) -> None:
    """Import, and keep the garbage collector off what was imported."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a child's collector does not copy the pages that it shares with us


class ForkServer:
    """The children by pid, and the two ways in: requests, and the end of a child."""

    def __init__(self) -> None:
        self.children: dict[int, str] = {}
        self.retired = False
        self.unread = b""
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the supervisor's business
        self.settings = _prefect_settings(os.environ)

    def serve(self) -> None:
        """Answer requests until there is nothing left to do."""
        _tell({"ready": os.getpid()})
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self.woken, selectors.EVENT_READ)
            idle_s: float | None = IDLE_S
            while not (self.retired and not self.children):
                ready = selector.select(idle_s)
                if not ready:
                    preload(LATER)
                    idle_s = None
                for key, _ in ready:
                    if key.fd == 0 and not self._read_requests():
                        return self._kill_children()
                    if key.fd == self.woken:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self.woken, 4096)
                        self._reap()
        return None

    def _read_requests(self) -> bool:
        """Serve what has come in; false once the standard input is closed."""
        read = os.read(0, 1 << 16)
        *lines, self.unread = (self.unread + read).split(b"\n")
        for line in lines:
            request = json.loads(line)
            self.retired = self.retired or bool(request.get("retire"))
            if "run" in request:
                self._fork(request["run"], request["environment"])
        return bool(read)

    def _fork(self, run: str, environment: dict[str, str]) -> None:
        assert threading.active_count() == 1, "a parent with threads must not fork"
        pid = os.fork()
        if pid == 0:
            os._exit(_run_in_child(run, environment, cold=_prefect_settings(environment) != self.settings))
        self.children[pid] = run
        _tell({"started": run, "pid": pid})

    def _reap(self) -> None:
        for pid, run in list(self.children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.children[pid]
                _tell({"ended": run, "code": os.waitstatus_to_exitcode(status)})

    def _kill_children(self) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _run_in_child(run: str, environment: dict[str, str], *, cold: bool) -> int:
    """Be the process of one flow run: what `python -m prefect.engine RUN` would be; returns its exit code.

    A run with Prefect settings of its own starts cold, as the settings that we have loaded are not its.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # our standard output is the parent's way to speak
    if cold:
        os.execve(sys.executable, [sys.executable, "-m", "prefect.engine", run], environment)  # noqa: S606 - no shell
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["prefect.engine", run]
    sys.modules.pop("prefect.engine", None)  # it is run as the main module now
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # the engine has told it; the code is what a plain interpreter would end with
        return 1
    finally:
        _drain()
    return 0


def _drain() -> None:
    """Send the events and log lines that wait in threads, which os._exit would lose."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    with contextlib.suppress(Exception):
        APILogWorker.drain_all(timeout=5)
    with contextlib.suppress(Exception):
        EventsWorker.drain_all(timeout=5)
    sys.stdout.flush()
    sys.stderr.flush()


def _prefect_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PREFECT_") and not name.startswith(KEPT_BY_PREFECT)
    }


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _nothing(number: int, frame: object) -> None:
    """A handler must be set for the wake-up pipe to be written."""


if __name__ == "__main__":
    main()
