"""Estimate the progress and the remaining time of a run, from its rows or from an earlier run of its job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from slipway.admin.prefect_api import Document

IN_FLIGHT = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "CRASHED")
SUCCESSFUL = ("Kept", "Completed", "Rehearsed", "Passed", "Backfilled")


@dataclass(frozen=True)
class Estimate:
    """The progress of a run: `done` (0 to 1) and `eta_s` are None if unknown; `upcoming` are the steps still to start."""

    step: str = ""
    detail: str = ""
    done: float | None = None
    eta_s: float | None = None
    upcoming: tuple[str, ...] = ()


def estimate(run: Document, earlier: Document | None, now: datetime) -> Estimate:
    """Return the progress of a run that is in flight; an empty estimate for a run that has ended."""
    if run["state"]["type"] not in IN_FLIGHT:
        return Estimate()
    running = [step["name"] for step in run["steps"] if step["state"]["type"] == "RUNNING"]
    step = running[-1] if running else ""
    if run["backfill"]:
        return _by_rows(run["backfill"], step)
    if earlier is not None and run["steps"]:
        return _by_steps(run, earlier, step, now)
    progress = run["progress"]
    return (
        Estimate(step, "Progress of this step:", progress["share"], progress["eta_s"]) if progress else Estimate(step)
    )


def similar_run(run: Document, others: Sequence[Document]) -> str | None:
    """Return the id of the ended run that is most similar: of the same change, or else of the same service; or None."""
    ended = [other for other in others if other["id"] != run["id"] and other["ended"] and other["job"] == run["job"]]
    same_service = [
        other for other in ended if other["state"]["name"] in SUCCESSFUL and other["service"] == run["service"]
    ]
    same_change = [other for other in same_service if other["change"] == run["change"]]
    return next((str(other["id"]) for other in (*same_change, *same_service)), None)


def _by_rows(rows: Document, step: str) -> Estimate:
    total = max(rows["total"], rows["rows_passed"], 1)
    about = "" if rows["total_is_exact"] else "about "
    detail = f"{rows['rows_passed']:,} of {about}{rows['total']:,} rows are done"
    if rows["rows_skipped"]:
        detail += f", {rows['rows_skipped']:,} skipped"
    waiting = f" The backfill is waiting: {rows['held_because']}." if rows["held_because"] else ""
    return Estimate(step, f"{detail}.{waiting}", rows["rows_passed"] / total, rows["eta_s"])


def _by_steps(run: Document, earlier: Document, step: str, now: datetime) -> Estimate:
    """Estimate from the duration of each step of the earlier run. A step that takes longer than before has 0 s left."""
    durations = {other["name"]: other["seconds"] or 0.0 for other in earlier["steps"]}
    started = {own["name"]: own for own in run["steps"]}
    upcoming = tuple(name for name in durations if name not in started)
    left = sum(durations[name] for name in upcoming)
    if step in durations:
        left += max(0.0, durations[step] - _running_for(started[step], now))
    total = sum(durations.values())
    if not total:
        return Estimate(step, upcoming=upcoming)
    is_paused = run["state"]["type"] == "PAUSED"  # the run waits for a person, for an unknown time
    done = min(1.0, max(0.0, (total - left) / total))
    return Estimate(step, done=done, eta_s=None if is_paused else left, upcoming=upcoming)


def _running_for(step: Document, now: datetime) -> float:
    return (now - datetime.fromisoformat(step["started"])).total_seconds() if step["started"] else 0.0
