"""`make crash-test`: kill everything, everywhere, and look at the whole world afterwards.

For every step of ship-change and roll-back-change, in its middle and just behind it, kill -9 in turn the flow process,
the worker with its child, the Prefect server, PostgreSQL (Slipway's, Prefect's and the shop's at once), the cache and
the service. Then the long troubles of tests/crash/scenarios.py. A supervisor starts again what it would. After
each run: schema, revision, a checksum of the rows, the hold, the copies and the record are looked at, and effects are
counted in the shop's own database.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slipway.deployments.processes import exit_on_sigterm
from tests.crash.killing import Journey, Kill, Moment, kill_flow, kill_part, kill_worker_and_child, travel
from tests.crash.scenarios import SCENARIOS, Skipped
from tests.crash.world import CHANGE, Facts, World, world

# The steps of each job, with a moment well inside each (seconds).
STEPS: dict[str, dict[str, float]] = {
    "ship-change": {
        "validate": 0.4,
        "hold the service": 0.0,
        "inspect headers": 0.1,
        "measure before": 2.0,
        "rehearse": 2.0,
        "migrate": 0.5,
        "purge and verify after the migration": 0.5,
        "measure after": 2.0,
        "judge once": 0.0,
        "decide": 0.0,
        "roll back": 0.5,
        "purge and verify after the roll back": 0.5,
        "measure restored": 2.0,
        "judge restored": 0.0,
        "record": 0.1,
        "release the service": 0.0,
    },
    "roll-back-change": {
        "read plan": 0.1,
        "hold the service": 0.0,
        "roll back": 0.5,
        "purge and verify after the roll back": 0.5,
        "record": 0.0,
        "release the service": 0.0,
    },
}

# A flow process may be killed so often in one run before the run gives up; a part of the stack as often as one likes.
TARGETS: dict[str, tuple[Kill, int]] = {
    "flow process": (kill_flow, 4),
    "worker with its child": (kill_worker_and_child, 3),
    "Prefect server": (kill_part("Prefect server"), 6),
    "PostgreSQL": (kill_part("PostgreSQL"), 6),
    "cache": (kill_part("cache"), 6),
    "service": (kill_part("shop"), 6),
}


@dataclass
class Tally:
    """What came of all runs."""

    kills: int = 0
    finished: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    resumed_after: dict[str, list[float]] = field(default_factory=dict)  # by what was killed


def main() -> int:
    """Run what is asked for; print the one line; 0 when nothing was lost and nothing done twice."""
    exit_on_sigterm()
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--target", choices=[*TARGETS, "all", "none"], default="all")
    options.add_argument("--job", choices=[*STEPS, "all"], default="all")
    options.add_argument("--scenario", choices=[*SCENARIOS, "all", "none"], default="all")
    options.add_argument("--quick", action="store_true", help="one run a target, its kills spread over the steps")
    asked = options.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="slipway-crash-") as home, world(Path(home), print) as running:
        before = running.facts()
        for job in chosen(asked.job, STEPS):
            for target in chosen(asked.target, TARGETS):
                kill, most = TARGETS[target]
                for moments in batches(job, most, quick=asked.quick):
                    one_run(running, before, Trip(job, target, kill, moments), tally)
        for scenario in [] if asked.quick else chosen(asked.scenario, SCENARIOS):
            run_scenario(running, before, scenario, tally)
    lost, twice = len(tally.lost), len(tally.twice)
    for told in [*tally.lost, *tally.twice]:
        print(told)
    for name, seconds in tally.resumed_after.items():
        print(f"{name}: {len(seconds)} kills, worst resume {max(seconds, default=0.0):.1f} s")
    worst = max((after for seconds in tally.resumed_after.values() for after in seconds), default=0.0)
    print(f"{tally.kills} kills, {tally.finished} finished, {lost} lost, {twice} twice, worst resume {worst:.1f} s")
    return 1 if lost or twice else 0


def chosen(asked: str, known: Iterable[str]) -> list[str]:
    """The one asked for, all, or none."""
    return list(known) if asked == "all" else [] if asked == "none" else [asked]


def run_scenario(running: World, before: Facts, name: str, tally: Tally) -> None:
    """One run of ship-change while something goes on; skipped, with the reason, where the machine cannot do it."""
    begin, moments = SCENARIOS[name]
    try:
        with begin(running) as act:
            one_run(running, before, Trip("ship-change", name, act, list(moments)), tally)
    except Skipped as skipped:
        print(f"SKIPPED {name}: {skipped}")


def batches(job: str, size: int, *, quick: bool) -> Iterator[list[Moment]]:
    """Every moment once, so many a run, each run's spread over the steps."""
    inside = [Moment(step, into) for step, into in STEPS[job].items()]
    behind = [Moment(step, None) for step in list(STEPS[job])[:-1]]
    moments = [moment for pair in zip(inside, [*behind, None], strict=True) for moment in pair if moment is not None]
    count = -(-len(moments) // size)
    for number in range(1 if quick else count):
        yield moments[number::count]


@dataclass(frozen=True)
class Trip:
    """One run to make: what is done to it, at which moments."""

    job: str
    name: str
    act: Kill
    moments: list[Moment]


def one_run(running: World, before: Facts, trip: Trip, tally: Tally) -> None:
    """One run with its kills, and what is true afterwards."""
    began = time.monotonic()
    drops, creates, purges = running.count("DROP INDEX"), running.count("CREATE INDEX"), running.cache.purges()
    if trip.job == "roll-back-change":
        running.upgrade("0009")
    journey = travel(running, trip.job, CHANGE, trip.moments, trip.act)
    tally.kills += len(journey.killed)
    tally.resumed_after.setdefault(trip.name, []).extend(journey.resumed_after)
    running.settle()
    wrong = what_is_wrong(running, before, journey)
    done = running.count("DROP INDEX") - drops, running.count("CREATE INDEX") - creates
    name = f"{trip.job}, {trip.name}, {', '.join(journey.killed)}"
    if wrong:
        tally.lost.append(f"LOST {name}: {wrong}")
        running.set_back()
    else:
        tally.finished += 1
    if done != (1, 1):
        tally.twice.append(f"TWICE {name}: dropped {done[0]} times, created {done[1]} times")
    tally.twice += wrong_purges(running, trip, journey, name, purges)
    print(f"{time.monotonic() - began:5.1f} s  {journey.run['state']['name']:<12} {name}", flush=True)


def wrong_purges(running: World, trip: Trip, journey: Journey, name: str, before: int) -> list[str]:
    """Whether the cache was asked to purge as often as the steps should: each asks twice, and so does a repeat.

    Validating a change asks once, for a page that nobody reads, to see that the cache listens.

    What the cache was told just before it was killed itself its log may not have; nothing is too few then.
    """
    if not running.cache.read:
        return []
    wanted = 2 * sum("purge" in step for step in STEPS[trip.job]) + ("validate" in STEPS[trip.job])
    most = wanted + 2 * sum(
        may_repeat_a_purge(trip.job, moment) for moment in trip.moments if str(moment) in journey.killed
    )
    least = 0 if trip.name in ("cache", "PostgreSQL restarted every 20 s") else wanted
    if trip.name in SCENARIOS or trip.name == "service":
        most += 2 * len(STEPS[trip.job])  # a step that found its service or its store away is tried again, each second
    asked = running.cache.purges() - before
    return [] if least <= asked <= most else [f"PURGES {name}: {asked}, not {wanted} to {most}"]


def may_repeat_a_purge(job: str, moment: Moment) -> bool:
    """Whether a kill at this moment may hit a step that purges: one so soon behind a step hits the next one."""
    steps = list(STEPS[job])
    hit = moment.step if moment.into is not None else steps[steps.index(moment.step) + 1]
    return "purge" in hit or hit == "validate"


def what_is_wrong(running: World, before: Facts, journey: Journey) -> str:
    """What is not as it should be after a run that was to go all the way back; empty when all is."""
    found = []
    if journey.run["state"]["name"] != "RolledBack":
        found.append(f"it ended as {journey.run['state']}, {journey.run.get('failures')}")
    if running.facts() != before:
        found.append("the database is not as it was")
    if running.holds():
        found.append("the service is still held")
    if running.copies():
        found.append("a copy of the database is left")
    if journey.run["job"] == "ship-change" and "rolled back" not in str(journey.run["record"]):
        found.append("there is no record")
    if not running.serves_fresh():
        found.append("the cache is not as it was")
    return "; ".join(found)


if __name__ == "__main__":
    sys.exit(main())
