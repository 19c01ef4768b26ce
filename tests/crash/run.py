"""`make crash-test`: kill every process in every step, and check all data afterwards.

In the middle of every step of ship-change and roll-back-change, and just after it, kill -9 one target: the flow process,
the worker with its child, the Prefect server, PostgreSQL (Slipway's, Prefect's and the shop's databases at once), the
cache, or the service. Then run the scenarios of tests/crash/scenarios.py. A supervisor restarts the stack's parts. After
each run, check the schema, the revision, a checksum of the rows, the service lock, the copies and the record, and count
the effects in the shop's own database.
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
from tests.crash.killing import Kill, KilledRun, Moment, kill_flow, kill_part, kill_worker_and_child, run_with_kills
from tests.crash.scenarios import SCENARIOS, Skipped
from tests.crash.world import CHANGE, Facts, World, world

# The steps of each job, each with a moment inside the step (seconds after its start).
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

# The action, and the most kills in one run: a run gives up after several kills of its flow process, not of other parts.
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
    """The results of all runs."""

    kills: int = 0
    finished: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    resumed_after: dict[str, list[float]] = field(default_factory=dict)  # by target


def main() -> int:
    """Run the selected crashes and print a summary line. Return 0 if nothing was lost and nothing was done twice."""
    exit_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=[*TARGETS, "all", "none"], default="all")
    parser.add_argument("--job", choices=[*STEPS, "all"], default="all")
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all", "none"], default="all")
    parser.add_argument("--quick", action="store_true", help="one run per target, with its kills spread over the steps")
    options = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="slipway-crash-") as home, world(Path(home), print) as running:
        before = running.facts()
        for job in select(options.job, STEPS):
            for target in select(options.target, TARGETS):
                kill, most = TARGETS[target]
                for moments in batches(job, most, quick=options.quick):
                    execute_run(running, before, PlannedRun(job, target, kill, moments), tally)
        for scenario in [] if options.quick else select(options.scenario, SCENARIOS):
            run_scenario(running, before, scenario, tally)
    lost, repeated = len(tally.lost), len(tally.repeated)
    for error in [*tally.lost, *tally.repeated]:
        print(error)
    for name, seconds in tally.resumed_after.items():
        print(f"{name}: {len(seconds)} kills, worst resume {max(seconds, default=0.0):.1f} s")
    worst = max((after for seconds in tally.resumed_after.values() for after in seconds), default=0.0)
    print(f"{tally.kills} kills, {tally.finished} finished, {lost} lost, {repeated} twice, worst resume {worst:.1f} s")
    return 1 if lost or repeated else 0


def select(choice: str, names: Iterable[str]) -> list[str]:
    """Return the selected name, or all names, or no name."""
    return list(names) if choice == "all" else [] if choice == "none" else [choice]


def run_scenario(running: World, before: Facts, name: str, tally: Tally) -> None:
    """Execute ship-change during a scenario. Print the reason if this machine cannot run the scenario."""
    scenario, moments = SCENARIOS[name]
    try:
        with scenario(running) as action:
            execute_run(running, before, PlannedRun("ship-change", name, action, list(moments)), tally)
    except Skipped as skipped:
        print(f"SKIPPED {name}: {skipped}")


def batches(job: str, size: int, *, quick: bool) -> Iterator[list[Moment]]:
    """Yield every moment once, in batches of at most `size` for one run. The moments of a batch are spread over the steps."""
    inside = [Moment(step, into) for step, into in STEPS[job].items()]
    after = [Moment(step, None) for step in list(STEPS[job])[:-1]]
    moments = [moment for pair in zip(inside, [*after, None], strict=True) for moment in pair if moment is not None]
    count = -(-len(moments) // size)
    for number in range(1 if quick else count):
        yield moments[number::count]


@dataclass(frozen=True)
class PlannedRun:
    """A planned run: the action, and its moments."""

    job: str
    name: str
    action: Kill
    moments: list[Moment]


def execute_run(running: World, before: Facts, planned: PlannedRun, tally: Tally) -> None:
    """Execute one run with its kills, check all data, and add the results to the tally."""
    began = time.monotonic()
    drops, creates, purges = running.count("DROP INDEX"), running.count("CREATE INDEX"), running.cache.purges()
    if planned.job == "roll-back-change":
        running.upgrade("0009")
    killed_run = run_with_kills(running, planned.job, CHANGE, planned.moments, planned.action)
    tally.kills += len(killed_run.killed)
    tally.resumed_after.setdefault(planned.name, []).extend(killed_run.resumed_after)
    running.settle()
    errors = find_errors(running, before, killed_run)
    effects = running.count("DROP INDEX") - drops, running.count("CREATE INDEX") - creates
    name = f"{planned.job}, {planned.name}, {', '.join(killed_run.killed)}"
    if errors:
        tally.lost.append(f"LOST {name}: {errors}")
        running.downgrade_to_start()
    else:
        tally.finished += 1
    if effects != (1, 1):
        tally.repeated.append(f"TWICE {name}: dropped {effects[0]} times, created {effects[1]} times")
    tally.repeated += find_purge_errors(running, planned, killed_run, name, purges)
    print(f"{time.monotonic() - began:5.1f} s  {killed_run.run['state']['name']:<12} {name}", flush=True)


def find_purge_errors(running: World, planned: PlannedRun, killed_run: KilledRun, name: str, before: int) -> list[str]:
    """Return an error if the number of purge requests is wrong. Each purge step sends two, and so does a repeated step.

    The validation of a change sends one, for a page that nobody reads, to check the purge of the cache.

    If the cache itself is killed, its log may lack the last requests. Then no number is too small.
    """
    if not running.cache.read:
        return []
    expected = 2 * sum("purge" in step for step in STEPS[planned.job]) + ("validate" in STEPS[planned.job])
    most = expected + 2 * sum(
        may_repeat_a_purge(planned.job, moment) for moment in planned.moments if str(moment) in killed_run.killed
    )
    least = 0 if planned.name in ("cache", "PostgreSQL restarted every 20 s") else expected
    if planned.name in SCENARIOS or planned.name == "service":
        most += 2 * len(STEPS[planned.job])  # a step without its service or its store is retried every second
    purges = running.cache.purges() - before
    return [] if least <= purges <= most else [f"PURGES {name}: {purges}, not {expected} to {most}"]


def may_repeat_a_purge(job: str, moment: Moment) -> bool:
    """Return whether a kill at this moment may hit a step that purges. A kill just after a step hits the next step."""
    steps = list(STEPS[job])
    hit = moment.step if moment.into is not None else steps[steps.index(moment.step) + 1]
    return "purge" in hit or hit == "validate"


def find_errors(running: World, before: Facts, killed_run: KilledRun) -> str:
    """Return all errors after a run that should be rolled back completely; an empty string if there are none."""
    errors = []
    if killed_run.run["state"]["name"] != "RolledBack":
        errors.append(f"the run ended as {killed_run.run['state']}, {killed_run.run.get('failures')}")
    if running.facts() != before:
        errors.append("the database differs from before the run")
    if running.holds():
        errors.append("the service lock is still held")
    if running.copies():
        errors.append("a copy of the database is left")
    if killed_run.run["job"] == "ship-change" and "rolled back" not in str(killed_run.run["record"]):
        errors.append("there is no record")
    if not running.serves_fresh():
        errors.append("the cache does not serve fresh pages")
    return "; ".join(errors)


if __name__ == "__main__":
    sys.exit(main())
