"""Long failures during a run of ship-change. Each scenario is a context manager that yields the action for its moments."""

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
    """This machine cannot run the scenario."""


@contextmanager
def server_away(world: World) -> Iterator[Kill]:
    """The Prefect server dies and stays stopped for five minutes."""
    server = world.stack.part("Prefect server")
    restart_timer = threading.Timer(AWAY_S, lambda: (server.start(), world.stack.parts.append(server)))

    def action(stack: Stack, run: Run) -> None:
        stack.parts.remove(server)  # the supervisor restarts the parts in this list
        assert server.process is not None
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        restart_timer.start()

    yield action
    restart_timer.join()


@contextmanager
def postgres_restarts(world: World) -> Iterator[Kill]:
    """PostgreSQL, with all databases, gets a fast shutdown every 20 s. The supervisor restarts it."""
    stopped = threading.Event()

    def restart() -> None:
        while not stopped.wait(RESTART_EVERY_S):
            part = world.stack.part("PostgreSQL")
            part.restarts = 0
            if part.process is not None and part.alive():
                part.process.send_signal(signal.SIGINT)

    thread = threading.Thread(target=restart, daemon=True)

    def action(stack: Stack, run: Run) -> None:
        thread.start()

    try:
        yield action
    finally:
        stopped.set()


@contextmanager
def full_disk(world: World) -> Iterator[Kill]:
    """The disk for the results is full from early in the run to its end. After the migration the run's process dies, too."""
    results = Path(world.stack.environment["PREFECT_LOCAL_STORAGE_PATH"])
    results.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        raise Skipped("only root can mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "slipway-crash-test", str(results)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        raise Skipped("no small file system could be mounted")

    filled = threading.Event()

    def action(stack: Stack, run: Run) -> None:
        if filled.is_set():
            return kill_flow(stack, run)  # the resumed run finds no results of the steps since then
        with (results / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        return filled.set()

    try:
        yield action
    finally:
        subprocess.run(["umount", "--lazy", str(results)], check=True)


@contextmanager
def jumping_clock(world: World) -> Iterator[Kill]:
    """The clock of the worker's host jumps to one hour ahead, and later to one hour behind. The server's clock does not."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("there is no C compiler for the preloaded clock")
    library = world.stack.home / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    worker, offset = world.stack.part("worker"), world.stack.home / "clock"
    offset.write_text("0", encoding="utf-8")
    original_environment = worker.environment
    worker.environment = {**original_environment, "LD_PRELOAD": str(library), "CRASH_TEST_CLOCK": str(offset)}
    jumps = iter(JUMPS)

    def action(stack: Stack, run: Run) -> None:
        offset.write_text(next(jumps), encoding="utf-8")

    kill_tree(world.stack, "worker")
    world.settle()
    try:
        yield action
    finally:
        worker.environment = original_environment
        kill_tree(world.stack, "worker")
        world.settle()


@contextmanager
def lost_host(world: World) -> Iterator[Kill]:
    """The worker's host stops responding, and another host takes over. Then the first one comes back and continues.

    Each host is a UTS namespace, so that the second worker treats the first one's processes as those of another host.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise Skipped("only root can give a worker its own host name")
    suspended: list[psutil.Process] = []
    worker = world.stack.part("worker")
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$@"', "sh"]
    log = worker.log.with_name("another-worker.log")
    argv = [*renamed, *(name.replace("slipway-1", "slipway-2") for name in worker.argv)]
    another = replace(worker, name="another worker", argv=argv, log=log, process=None, ready=log.exists)

    def action(stack: Stack, run: Run) -> None:
        if suspended:
            return resume_processes(suspended)
        assert worker.process is not None
        root = psutil.Process(worker.process.pid)
        suspended.extend([root, *root.children(recursive=True)])
        for process in suspended:
            process.suspend()
        another.start()
        return stack.parts.append(another)

    try:
        yield action
    finally:
        resume_processes(suspended)
        world.stack.parts.remove(another)
        another.stop()


@contextmanager
def everything_at_once(world: World) -> Iterator[Kill]:
    """Every part dies at almost the same time, as in a power failure. The supervisor restarts each one separately."""

    def action(stack: Stack, run: Run) -> None:
        for part in list(stack.parts):
            kill_tree(stack, part.name)

    yield action


def resume_processes(suspended: list[psutil.Process]) -> None:
    """Continue the processes of a silent host."""
    for process in suspended:
        with suppress(psutil.NoSuchProcess):
            process.resume()


SCENARIOS: dict[str, tuple[Scenario, tuple[Moment, ...]]] = {
    "everything at once": (everything_at_once, (Moment("measure before", 1.0), Moment("migrate", 0.5))),
    "everything at once, during the rollback": (
        everything_at_once,
        (Moment("measure after", 1.0), Moment("roll back", 0.5), Moment("measure restored", 1.0)),
    ),
    "lost host that comes back": (lost_host, (Moment("measure before", 1.0), Moment("measure after", 1.0))),
    "Prefect server away for 5 minutes": (server_away, (Moment("measure before", 1.0),)),
    "PostgreSQL restarted every 20 s": (postgres_restarts, (Moment("validate", 0.0),)),
    "full disk for the results": (full_disk, (Moment("measure before", 1.0), Moment("measure after", 1.0))),
    "clock that jumps": (jumping_clock, (Moment("measure before", 1.0), Moment("measure after", 1.0))),
}
