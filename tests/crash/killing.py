"""Kill processes (kill -9) at chosen moments of a run, and follow the run to its end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from slipway.client.http import OVER
from slipway.deployments.stack import Stack
from tests.crash.world import World

Run = dict[str, Any]
Kill = Callable[[Stack, Run], None]
DEADLINE_S = 600.0
POLL_S = 0.1


@dataclass(frozen=True)
class Moment:
    """When to kill: `into` seconds after the start of a step was observed, or when its end is observed (None)."""

    step: str
    into: float | None

    def __str__(self) -> str:
        return f"{self.into:.1f} s into {self.step!r}" if self.into is not None else f"after {self.step!r}"


@dataclass
class KilledRun:
    """One run with its kills: the ended run, and the seconds from each kill until the run continued."""

    run: Run
    killed: list[str] = field(default_factory=list)
    resumed_after: list[float] = field(default_factory=list)


def run_with_kills(world: World, job: str, change: str, moments: list[Moment], kill: Kill) -> KilledRun:
    """Start a run, kill at each moment, and wait for the end of the run. Raises AssertionError at the deadline."""
    killed_run = KilledRun(start_run(world, job, change))
    first_seen: dict[str, float] = {}
    waiting, killed_at = list(moments), 0.0
    deadline = time.monotonic() + DEADLINE_S
    while killed_run.run["state"]["type"] not in OVER:
        assert time.monotonic() < deadline, (
            f"the run did not end: {killed_run.run['state']}, killed {killed_run.killed}"
        )
        time.sleep(POLL_S)
        with contextlib.suppress(Exception):  # after a kill, the admin service may not answer
            killed_run.run = world.client.run(killed_run.run["id"])
        now = time.monotonic()
        if killed_at and has_continued(world.stack, killed_run.run):
            killed_run.resumed_after.append(now - killed_at)
            killed_at = 0.0
        due = next((moment for moment in waiting if is_due(moment, killed_run.run, first_seen, now)), None)
        if due is not None:
            waiting.remove(due)
            kill(world.stack, killed_run.run)
            killed_run.killed.append(str(due))
            killed_at = time.monotonic()
    return killed_run


def start_run(world: World, job: str, change: str) -> Run:
    """Start a run. Retry until the admin service accepts it, for at most 120 seconds."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return world.client.start(job, {"change": change}) | {"steps": []}
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def is_due(moment: Moment, run: Run, first_seen: dict[str, float], now: float) -> bool:
    """Return whether it is time to kill. `first_seen` stores when each step was first observed."""
    for step in run["steps"]:
        if step["name"] != moment.step:
            continue
        began = first_seen.setdefault(step["name"], now)
        if moment.into is None:
            return bool(step["state"]["type"] == "COMPLETED")
        return now - began >= moment.into
    return False


def has_continued(stack: Stack, run: Run) -> bool:
    """Return whether the run has ended, or is running again with a living process."""
    if run["state"]["type"] in OVER:
        return True
    return run["state"]["type"] == "RUNNING" and flow_process(stack) is not None


def flow_process(stack: Stack) -> psutil.Process | None:
    """Return the living process of the only run in flight on a stack: a child of its workers' fork servers."""
    for part in [part for part in stack.parts if part.name.endswith("worker") and part.process is not None]:
        with contextlib.suppress(psutil.Error):
            for parent in psutil.Process(part.process.pid).children():
                for child in parent.children() if belongs_to_fork_server(parent) else ():
                    if belongs_to_fork_server(child) and child.status() != psutil.STATUS_ZOMBIE:
                        return child
    return None


def belongs_to_fork_server(process: psutil.Process) -> bool:
    """Return whether a process is a fork server, or was forked from one."""
    with contextlib.suppress(psutil.Error):
        return "slipway.deployments.worker.fork_server" in process.cmdline()
    return False


def kill_flow(stack: Stack, run: Run) -> None:
    """Kill only the process of the run."""
    process = flow_process(stack)
    if process is not None:
        process.send_signal(signal.SIGKILL)


def kill_worker_and_child(stack: Stack, run: Run) -> None:
    """Kill the worker with its fork server and the run's process. The supervisor restarts the worker."""
    kill_tree(stack, "worker")


def kill_worker_alone(stack: Stack, run: Run) -> None:
    """Kill the worker but not the processes that it has started. The supervisor restarts the worker."""
    process = stack.part("worker").process
    assert process is not None
    process.send_signal(signal.SIGKILL)


def kill_part(name: str) -> Kill:
    """Return a function that kills one part of the stack with its descendants. The supervisor restarts the part."""

    def kill(stack: Stack, run: Run) -> None:
        kill_tree(stack, stack.environment["SHOP_CACHE"] if name == "cache" else name)

    return kill


def kill_tree(stack: Stack, name: str) -> None:
    """Kill a part and all its descendants. If the part is being restarted, wait until it runs."""
    part = stack.part(name)
    deadline = time.monotonic() + 120
    while not part.alive():
        assert time.monotonic() < deadline, f"{name} was not restarted"
        time.sleep(0.05)
    assert part.process is not None
    part.restarts = 0  # the supervisor's growing pauses are for broken parts, not for killed ones
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(part.process.pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
