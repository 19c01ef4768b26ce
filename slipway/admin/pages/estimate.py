"""How far a run is, what it is at, and how long it may still take, by its rows or by an earlier run of its job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from slipway.admin.prefect_api import Document

IN_FLIGHT = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "CRASHED")
WENT_WELL = ("Kept", "Completed", "Rehearsed", "Passed", "Backfilled")


@dataclass(frozen=True)
class Estimate:
    """Where a run is: `done` from 0 to 1 and `eta_s` are None while nobody can know; `to_come` are steps ahead of it."""

    step: str = ""
    words: str = ""
    done: float | None = None
    eta_s: float | None = None
    to_come: tuple[str, ...] = ()


def estimate(run: Document, earlier: Document | None, now: datetime) -> Estimate:
    """Where a run is that is on its way; nothing for one that has ended."""
    if run["state"]["type"] not in IN_FLIGHT:
        return Estimate()
    at_work = [step["name"] for step in run["steps"] if step["state"]["type"] == "RUNNING"]
    step = at_work[-1] if at_work else ""
    if run["backfill"]:
        return _by_rows(run["backfill"], step)
    if earlier is not None and run["steps"]:
        return _by_steps(run, earlier, step, now)
    at = run["progress"]
    return Estimate(step, "Of this step:", at["share"], at["eta_s"]) if at else Estimate(step)


def similar_run(run: Document, others: Sequence[Document]) -> str | None:
    """The id of the ended run that a run can best be compared with: of the same change, or else of the same service."""
    ended = [other for other in others if other["id"] != run["id"] and other["ended"] and other["job"] == run["job"]]
    well = [other for other in ended if other["state"]["name"] in WENT_WELL and other["service"] == run["service"]]
    same = [other for other in well if other["change"] == run["change"]]
    return next((str(found["id"]) for found in (*same, *well)), None)


def _by_rows(rows: Document, step: str) -> Estimate:
    total = max(rows["total"], rows["rows_passed"], 1)
    about = "" if rows["total_is_exact"] else "about "
    words = f"{rows['rows_passed']:,} of {about}{rows['total']:,} rows are done"
    if rows["rows_skipped"]:
        words += f", {rows['rows_skipped']:,} skipped"
    held = f" It waits: {rows['held_because']}." if rows["held_because"] else ""
    return Estimate(step, f"{words}.{held}", rows["rows_passed"] / total, rows["eta_s"])


def _by_steps(run: Document, earlier: Document, step: str, now: datetime) -> Estimate:
    """The time that the earlier run took for each step tells how much is left; a step that takes longer adds nothing."""
    took = {each["name"]: each["seconds"] or 0.0 for each in earlier["steps"]}
    begun = {each["name"]: each for each in run["steps"]}
    to_come = tuple(name for name in took if name not in begun)
    left = sum(took[name] for name in to_come)
    if step in took:
        left += max(0.0, took[step] - _running_for(begun[step], now))
    whole = sum(took.values())
    if not whole:
        return Estimate(step, to_come=to_come)
    waits = run["state"]["type"] == "PAUSED"  # for a person, and nobody knows how long
    done = min(1.0, max(0.0, (whole - left) / whole))
    return Estimate(step, done=done, eta_s=None if waits else left, to_come=to_come)


def _running_for(step: Document, now: datetime) -> float:
    return (now - datetime.fromisoformat(step["started"])).total_seconds() if step["started"] else 0.0
