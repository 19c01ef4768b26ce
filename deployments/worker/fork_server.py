"""The fork server: a single-threaded process that has imported Prefect and the flows, and forks one child per run.

The protocol is lines of JSON. The fork server reads {"run": id, "environment": {…}} and {"retire": true} from its
standard input, and writes {"started": id, "pid": n} and {"ended": id, "code": n} to its standard output. When standard
input closes, the worker is gone. Then the fork server kills its children, so that no orphan continues, and exits.

Only this process forks, and it has one thread. So a child never inherits a lock that a missing thread holds.
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

PRELOADED = ("prefect.engine", "prefect.flow_engine")
PRELOADED_WHEN_IDLE = ("slipway.measurement.comparison_chart", "matplotlib.figure")  # only the last step imports them
IDLE_S = 2.0
RUN_VARIABLES = "PREFECT__"  # variables of the run itself; every other PREFECT_ variable is a setting


def main() -> None:
    """Import the flows and serve, until standard input closes, or the server is retired and its last child ends."""
    flows = [job.entrypoint.rpartition(".")[0] for job in read_jobs(FILE).deployments]
    preload([*PRELOADED, *flows])
    ForkServer().serve()


def preload(modules: Sequence[str]) -> None:
    """Import modules, and exclude their objects from garbage collection."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the collector of a child does not copy the memory pages that it shares with this process


class ForkServer:
    """The children by pid, and the loop that handles requests and the ends of children."""

    def __init__(self) -> None:
        self.children: dict[int, str] = {}
        self.retired = False
        self.unread = b""
        self.wake_up, wake_up_writer = os.pipe()
        os.set_blocking(wake_up_writer, False)
        os.set_blocking(self.wake_up, False)
        signal.set_wakeup_fd(wake_up_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C in the terminal
        self.settings = _prefect_settings(os.environ)

    def serve(self) -> None:
        """Handle requests until standard input closes, or the server is retired and has no child left."""
        _send({"ready": os.getpid()})
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self.wake_up, selectors.EVENT_READ)
            idle_s: float | None = IDLE_S
            while not (self.retired and not self.children):
                ready = selector.select(idle_s)
                if not ready:
                    preload(PRELOADED_WHEN_IDLE)
                    idle_s = None
                for key, _ in ready:
                    if key.fd == 0 and not self._read_requests():
                        return self._kill_children()
                    if key.fd == self.wake_up:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self.wake_up, 4096)
                        self._reap()
        return None

    def _read_requests(self) -> bool:
        """Read and handle the requests that have arrived. Return false when standard input is closed."""
        data = os.read(0, 1 << 16)
        *lines, self.unread = (self.unread + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            self.retired = self.retired or bool(request.get("retire"))
            if "run" in request:
                self._fork(request["run"], request["environment"])
        return bool(data)

    def _fork(self, run: str, environment: dict[str, str]) -> None:
        assert threading.active_count() == 1, "A process with several threads must not fork."
        pid = os.fork()
        if pid == 0:
            os._exit(_run_in_child(run, environment, cold=_prefect_settings(environment) != self.settings))
        self.children[pid] = run
        _send({"started": run, "pid": pid})

    def _reap(self) -> None:
        for pid, run in list(self.children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.children[pid]
                _send({"ended": run, "code": os.waitstatus_to_exitcode(status)})

    def _kill_children(self) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _run_in_child(run: str, environment: dict[str, str], *, cold: bool) -> int:
    """Execute one flow run in this child, as `python -m prefect.engine RUN` does. Return its exit code.

    A run whose Prefect settings differ from the loaded ones starts cold, in a new interpreter.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # standard output belongs to the fork server's protocol
    if cold:
        os.execve(sys.executable, [sys.executable, "-m", "prefect.engine", run], environment)  # noqa: S606 - no shell
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["prefect.engine", run]
    sys.modules.pop("prefect.engine", None)  # runpy runs it as the main module
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # the engine has logged the error; a plain interpreter exits with 1 too
        return 1
    finally:
        _drain()
    return 0


def _drain() -> None:
    """Send the events and log lines that are queued in threads. os._exit would lose them."""
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
        if name.startswith("PREFECT_") and not name.startswith(RUN_VARIABLES)
    }


def _send(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _ignore_signal(number: int, frame: object) -> None:
    """Do nothing. Python writes to the wake-up pipe only if a handler is set."""


if __name__ == "__main__":
    main()
