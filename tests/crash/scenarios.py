"""Long troubles during a run of ship-change: each is a context that gives what is to happen at given moments."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from slipway.deployments.stack import Stack
from tests.crash.killing import Kill, Moment, Run, kill_flow, kill_tree
from tests.crash.world import World

AWAY_S = 300
RESTART_EVERY_S = 20
DISK_BYTES = 256 * 1024
JUMPS = ("3600", "-3600")  # seconds
Scenario = Callable[[World], AbstractContextManager[Kill]]


class Skipped(Exception):
    """This machine cannot play the scenario."""


@contextmanager
def server_away(world: World) -> Iterator[Kill]:
    """The Prefect server dies, and nobody starts it again for five minutes."""
    server = world.stack.part("Prefect server")
    back = threading.Timer(AWAY_S, lambda: (server.start(), world.stack.parts.append(server)))

    def act(stack: Stack, run: Run) -> None:
        stack.parts.remove(server)  # the supervisor looks after what is in this list
        assert server.process is not None
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        back.start()

    yield act
    back.join()


@contextmanager
def postgres_restarts(world: World) -> Iterator[Kill]:
    """PostgreSQL, with all its databases, is shut down fast every 20 s; the supervisor starts it again."""
    over = threading.Event()

    def restart() -> None:
        while not over.wait(RESTART_EVERY_S):
            part = world.stack.part("PostgreSQL")
            part.restarts = 0
            if part.process is not None and part.alive():
                part.process.send_signal(signal.SIGINT)

    thread = threading.Thread(target=restart, daemon=True)

    def act(stack: Stack, run: Run) -> None:
        thread.start()

    try:
        yield act
    finally:
        over.set()


@contextmanager
def full_disk(world: World) -> Iterator[Kill]:
    """The storage of the results is full from early in the run to its end; behind the migration its process dies, too."""
    results = Path(world.stack.environment["PREFECT_LOCAL_STORAGE_PATH"])
    results.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        raise Skipped("only root can mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "slipway-crash-test", str(results)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        raise Skipped("no small file system could be mounted")

    filled = threading.Event()

    def act(stack: Stack, run: Run) -> None:
        if filled.is_set():
            return kill_flow(stack, run)  # whose resumed run finds no result of what was done since
        with (results / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        return filled.set()

    try:
        yield act
    finally:
        subprocess.run(["umount", "--lazy", str(results)], check=True)


@contextmanager
def jumping_clock(world: World) -> Iterator[Kill]:
    """The clock of the worker's host jumps an hour ahead, and later to an hour behind; the server's does not."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("there is no C compiler for the preloaded clock")
    library = world.stack.home / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    worker, offset = world.stack.part("worker"), world.stack.home / "clock"
    offset.write_text("0", encoding="utf-8")
    own = worker.environment
    worker.environment = {**own, "LD_PRELOAD": str(library), "CRASH_TEST_CLOCK": str(offset)}
    jumps = iter(JUMPS)

    def act(stack: Stack, run: Run) -> None:
        offset.write_text(next(jumps), encoding="utf-8")

    kill_tree(world.stack, "worker")
    world.settle()
    try:
        yield act
    finally:
        worker.environment = own
        kill_tree(world.stack, "worker")
        world.settle()


@contextmanager
def lost_host(world: World) -> Iterator[Kill]:
    """The worker's host falls silent, another takes over; then the first comes back and goes on where it was.

    A host is a UTS name space of its own, so that the second worker sees the first one's processes as not its own.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise Skipped("only root can give a worker a host name of its own")
    silent: list[psutil.Process] = []
    worker = world.stack.part("worker")
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$@"', "sh"]
    log = worker.log.with_name("another-worker.log")
    argv = [*renamed, *(name.replace("slipway-1", "slipway-2") for name in worker.argv)]
    another = replace(worker, name="another worker", argv=argv, log=log, process=None, ready=log.exists)

    def act(stack: Stack, run: Run) -> None:
        if silent:
            return wake(silent)
        assert worker.process is not None
        root = psutil.Process(worker.process.pid)
        silent.extend([root, *root.children(recursive=True)])
        for process in silent:
            process.suspend()
        another.start()
        return stack.parts.append(another)

    try:
        yield act
    finally:
        wake(silent)
        world.stack.parts.remove(another)
        another.stop()


@contextmanager
def everything_at_once(world: World) -> Iterator[Kill]:
    """Every part dies within a moment, as when the power fails; the supervisor starts each again, in its own time."""

    def act(stack: Stack, run: Run) -> None:
        for part in list(stack.parts):
            kill_tree(stack, part.name)

    yield act


def wake(silent: list[psutil.Process]) -> None:
    """Have the processes of a silent host go on."""
    for process in silent:
        with suppress(psutil.NoSuchProcess):
            process.resume()


SCENARIOS: dict[str, tuple[Scenario, tuple[Moment, ...]]] = {
    "everything at once": (everything_at_once, (Moment("measure before", 1.0), Moment("migrate", 0.5))),
    "everything at once, on the way back": (
        everything_at_once,
        (Moment("measure after", 1.0), Moment("roll back", 0.5), Moment("measure restored", 1.0)),
    ),
    "lost host that comes back": (lost_host, (Moment("measure before", 1.0), Moment("measure after", 1.0))),
    "Prefect server away for 5 minutes": (server_away, (Moment("measure before", 1.0),)),
    "PostgreSQL restarted every 20 s": (postgres_restarts, (Moment("validate", 0.0),)),
    "full disk for the results": (full_disk, (Moment("measure before", 1.0), Moment("measure after", 1.0))),
    "clock that jumps": (jumping_clock, (Moment("measure before", 1.0), Moment("measure after", 1.0))),
}
