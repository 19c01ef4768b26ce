"""Kill -9 at a chosen moment of a run, and watch what becomes of it."""

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
    """When to kill: `into` seconds after a step was seen to begin, or as soon as it was seen to have ended (None)."""

    step: str
    into: float | None

    def __str__(self) -> str:
        return f"{self.into:.1f} s into {self.step!r}" if self.into is not None else f"behind {self.step!r}"


@dataclass
class Journey:
    """One run with its kills: how it ended, and how long each kill kept it from going on (seconds)."""

    run: Run
    killed: list[str] = field(default_factory=list)
    resumed_after: list[float] = field(default_factory=list)


def travel(world: World, job: str, change: str, moments: list[Moment], kill: Kill) -> Journey:
    """Start a run, kill at each moment as it comes, and wait for the run's end. Raises AssertionError at the deadline."""
    journey = Journey(started(world, job, change))
    seen: dict[str, float] = {}
    waiting, killed_at = list(moments), 0.0
    deadline = time.monotonic() + DEADLINE_S
    while journey.run["state"]["type"] not in OVER:
        assert time.monotonic() < deadline, f"the run did not end: {journey.run['state']}, killed {journey.killed}"
        time.sleep(POLL_S)
        with contextlib.suppress(Exception):  # whatever was killed may keep the admin service from answering
            journey.run = world.client.run(journey.run["id"])
        now = time.monotonic()
        if killed_at and goes_on(world.stack, journey.run):
            journey.resumed_after.append(now - killed_at)
            killed_at = 0.0
        due = next((moment for moment in waiting if is_due(moment, journey.run, seen, now)), None)
        if due is not None:
            waiting.remove(due)
            kill(world.stack, journey.run)
            journey.killed.append(str(due))
            killed_at = time.monotonic()
    return journey


def started(world: World, job: str, change: str) -> Run:
    """A new run, once the door lets it in."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return world.client.start(job, {"change": change}) | {"steps": []}
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def is_due(moment: Moment, run: Run, seen: dict[str, float], now: float) -> bool:
    """Whether the moment has come."""
    for step in run["steps"]:
        if step["name"] != moment.step:
            continue
        began = seen.setdefault(step["name"], now)
        if moment.into is None:
            return bool(step["state"]["type"] == "COMPLETED")
        return now - began >= moment.into
    return False


def goes_on(stack: Stack, run: Run) -> bool:
    """Whether the run is at work again: over, or running with a living process."""
    if run["state"]["type"] in OVER:
        return True
    return run["state"]["type"] == "RUNNING" and flow_process(stack) is not None


def flow_process(stack: Stack) -> psutil.Process | None:
    """The living process of the one run in flight on a stack: the child that a warm parent of its workers has forked."""
    for part in [part for part in stack.parts if part.name.endswith("worker") and part.process is not None]:
        with contextlib.suppress(psutil.Error):
            for parent in psutil.Process(part.process.pid).children():
                for child in parent.children() if is_warm(parent) else ():
                    if is_warm(child) and child.status() != psutil.STATUS_ZOMBIE:
                        return child
    return None


def is_warm(process: psutil.Process) -> bool:
    """Whether a process is a warm parent, or was forked from one."""
    with contextlib.suppress(psutil.Error):
        return "slipway.deployments.worker.fork_server" in process.cmdline()
    return False


def kill_flow(stack: Stack, run: Run) -> None:
    """Kill the process of the run alone."""
    process = flow_process(stack)
    if process is not None:
        process.send_signal(signal.SIGKILL)


def kill_worker_and_child(stack: Stack, run: Run) -> None:
    """Kill the worker with its warm parent and the run's process; the supervisor starts a worker again."""
    kill_tree(stack, "worker")


def kill_worker_alone(stack: Stack, run: Run) -> None:
    """Kill the worker but not what it has started; the supervisor starts a worker again."""
    process = stack.part("worker").process
    assert process is not None
    process.send_signal(signal.SIGKILL)


def kill_part(name: str) -> Kill:
    """Kill one part of the stack with what it has started; the supervisor starts it again."""

    def kill(stack: Stack, run: Run) -> None:
        kill_tree(stack, stack.environment["SHOP_CACHE"] if name == "cache" else name)

    return kill


def kill_tree(stack: Stack, name: str) -> None:
    """Kill a part and all its descendants; one that is being started again is killed once it is there."""
    part = stack.part(name)
    deadline = time.monotonic() + 120
    while not part.alive():
        assert time.monotonic() < deadline, f"{name} was not started again"
        time.sleep(0.05)
    assert part.process is not None
    part.restarts = 0  # the supervisor's growing pauses are for a part that cannot run, not for one that we kill
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(part.process.pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
