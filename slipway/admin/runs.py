"""A run as the admin shows it: Prefect's states, and what the steps left behind in Slipway's store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from slipway.admin.prefect_api import Document
from slipway.caching.outcomes import Purged
from slipway.config.plan import Plan
from slipway.measurement.measure import summarise
from slipway.measurement.probe import expected_seconds
from slipway.measurement.samples import MeasuredWindow
from slipway.measurement.warm_up import remarks
from slipway.runs.store import Outcome

JOBS_BY_ID = dict[str, str]
SUMMARY = "WindowSummary"


def summary(run: Document, jobs: JOBS_BY_ID) -> Document:
    """One line of a list of runs; `jobs` names the deployments by id."""
    return {
        "id": run["id"],
        "name": run["name"],
        "job": jobs.get(run.get("deployment_id") or ""),
        "parameters": run["parameters"],
        "service": _tagged(run, "service"),
        "change": _tagged(run, "change"),
        "state": state_of(run),
        "created": run["created"],
        "planned": run.get("expected_start_time") if run.get("auto_scheduled") else None,
        "started": run.get("start_time"),
        "ended": run.get("end_time"),
    }


def state_of(run: Document) -> Document:
    """The state: Prefect's type (SCHEDULED … COMPLETED), its name (Kept, RolledBack, Frozen, …) and what it says."""
    state = run.get("state") or {}
    return {"type": state.get("type"), "name": state.get("name"), "message": state.get("message")}


def detail(run: Document, steps: list[Document], left: list[Outcome], jobs: JOBS_BY_ID) -> Document:
    """Everything about one run; what it has not come to is null or empty. `left` is condensed."""
    shown = [_step(step) for step in one_each(steps)]
    plan = _latest(left, "Plan", None) or {}
    return {
        **summary(run, jobs),
        "asked_by": run.get("asked_by"),
        "steps": shown,
        "progress": progress_of(shown, plan, _latest(left, "BackfillProgress", None)),
        "leaving": plan.get("leaving"),
        "findings": _findings(left),
        "measurements": [outcome.body for outcome in left if outcome.kind == SUMMARY],
        "rehearsal": _latest(left, "Rehearsal", None),
        "backfill": _latest(left, "BackfillProgress", None),
        "audit": _latest(left, "Audit", None),
        "verdict": _verdict(left),
        "decision": _latest(left, "Decision", None),
        "failures": [{"step": o.step.removesuffix(" failed"), **o.body} for o in left if o.kind == "Failure"],
        "record": _latest(left, "Record", None),
    }


def one_each(steps: list[Document]) -> list[Document]:
    """Each step once, in the order in which they first began.

    A run that was resumed after a crash has some twice in Prefect: the one in flight, which a dead process left
    "running", and the finished ones again, as read from their kept results. What did the work is what counts.
    """
    by_name: dict[str, Document] = {}
    for step in steps:
        known = by_name.get(step["name"])
        if known is None or not _did_the_work(known):
            by_name[step["name"]] = step
    return list(by_name.values())


def _did_the_work(step: Document) -> bool:
    state = state_of(step)
    return bool(state["type"] == "COMPLETED" and state["name"] != "Cached")


def _step(step: Document) -> Document:
    return {
        "name": step["name"],
        "state": state_of(step),
        "started": step.get("start_time"),
        "ended": step.get("end_time"),
        "seconds": step.get("total_run_time"),
    }


def _findings(left: list[Outcome]) -> list[Any]:
    """What was noticed on the pages, and what left the cache besides."""
    purged = [Purged.model_validate(outcome.body) for outcome in left if outcome.kind == "Purged"]
    besides = [finding.model_dump() for found in purged for finding in found.findings]
    return [*_latest(left, "Inspection", {"findings": []})["findings"], *besides]


def condensed(outcome: Outcome) -> Outcome:
    """An outcome as it is shown: a window without its raw samples, which stay with the run in the store."""
    if outcome.kind != "MeasuredWindow":
        return outcome
    window = MeasuredWindow.model_validate(outcome.body)
    lines = [line.model_dump(mode="json") for line in summarise(window)]
    shown = {
        "step": outcome.step,
        "started_at": window.started_at,
        "seconds": window.seconds,
        "remarks": remarks(window),
        "routes": lines,
    }
    return Outcome(step=outcome.step, kind=SUMMARY, body=shown, at=outcome.at)


def progress_of(steps: list[Document], plan: Document, backfill: Document | None) -> Document | None:
    """How far the step at work is, from 0 to 1, and how many seconds are left; None where nobody can know.

    A backfill tells it; a measurement takes as long as its service's probe says, from when it began.
    """
    at_work = [step for step in steps if step["state"]["type"] == "RUNNING" and step["started"]]
    if not at_work:
        return None
    step = at_work[-1]
    if step["name"] == "backfill" and backfill:
        share = min(1.0, backfill["rows_passed"] / max(backfill["total"], 1))
        return {"step": step["name"], "share": round(share, 4), "eta_s": backfill["eta_s"]}
    if step["name"].startswith("measure ") and "change" in plan:
        known = Plan.model_validate(plan)
        whole = expected_seconds(known.service.probe, 2 * len(known.change.pairs()))
        gone = (datetime.now(UTC) - datetime.fromisoformat(step["started"])).total_seconds()
        share = min(1.0, max(0.0, gone / whole))
        return {"step": step["name"], "share": round(share, 2), "eta_s": round(max(0.0, whole - gone))}
    return None


def _verdict(left: list[Outcome]) -> Any:
    """The verdict that was decided by: the extended one where there is one; the one after a roll back is told in the record."""
    verdicts = [outcome for outcome in left if outcome.kind == "Verdict" and outcome.step != "judge restored"]
    return verdicts[-1].body if verdicts else None


def _latest(left: list[Outcome], kind: str, default: Any) -> Any:
    bodies = [outcome.body for outcome in left if outcome.kind == kind]
    return bodies[-1] if bodies else default


def _tagged(run: Document, what: str) -> str | None:
    tags: list[str] = run.get("tags") or []
    return next((tag.removeprefix(f"{what}:") for tag in tags if tag.startswith(f"{what}:")), None)
