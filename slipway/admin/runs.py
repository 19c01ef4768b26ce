"""A run as the admin shows it: Prefect's states and the outcomes in Slipway's store."""

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
    """Return a run as a list shows it; `jobs` maps deployment ids to job names."""
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
    """Return the state: Prefect's type (SCHEDULED … COMPLETED), its name (Kept, RolledBack, Frozen, …) and its message."""
    state = run.get("state") or {}
    return {"type": state.get("type"), "name": state.get("name"), "message": state.get("message")}


def detail(run: Document, steps: list[Document], outcomes: list[Outcome], jobs: JOBS_BY_ID) -> Document:
    """Return everything about one run; members of later steps are null or empty. The outcomes are condensed."""
    shown = [_step(step) for step in unique_steps(steps)]
    plan = _latest(outcomes, "Plan", None) or {}
    return {
        **summary(run, jobs),
        "asked_by": run.get("asked_by"),
        "steps": shown,
        "progress": progress_of(shown, plan, _latest(outcomes, "BackfillProgress", None)),
        "leaving": plan.get("leaving"),
        "findings": _findings(outcomes),
        "measurements": [outcome.body for outcome in outcomes if outcome.kind == SUMMARY],
        "rehearsal": _latest(outcomes, "Rehearsal", None),
        "backfill": _latest(outcomes, "BackfillProgress", None),
        "audit": _latest(outcomes, "Audit", None),
        "verdict": _verdict(outcomes),
        "decision": _latest(outcomes, "Decision", None),
        "failures": [{"step": o.step.removesuffix(" failed"), **o.body} for o in outcomes if o.kind == "Failure"],
        "record": _latest(outcomes, "Record", None),
    }


def unique_steps(steps: list[Document]) -> list[Document]:
    """Return each step once, in the order in which the steps first began.

    After a crash and a resume, Prefect has some steps twice: the step in flight, which the dead process left "running",
    and the finished steps, as read from their cached results. The task run that did the work is returned.
    """
    by_name: dict[str, Document] = {}
    for step in steps:
        earlier = by_name.get(step["name"])
        if earlier is None or not _did_the_work(earlier):
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


def _findings(outcomes: list[Outcome]) -> list[Any]:
    """Return the findings of the inspection, followed by those of the purges."""
    purges = [Purged.model_validate(outcome.body) for outcome in outcomes if outcome.kind == "Purged"]
    from_purges = [finding.model_dump() for purge in purges for finding in purge.findings]
    return [*_latest(outcomes, "Inspection", {"findings": []})["findings"], *from_purges]


def condensed(outcome: Outcome) -> Outcome:
    """Return an outcome for display: a measured window without its raw samples, which stay in the store."""
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
    """Return the running step's share done (0 to 1) and remaining seconds, or None if the progress is unknown.

    A backfill reports its progress; the duration of a measurement follows from the service's probe settings.
    """
    running = [step for step in steps if step["state"]["type"] == "RUNNING" and step["started"]]
    if not running:
        return None
    step = running[-1]
    if step["name"] == "backfill" and backfill:
        share = min(1.0, backfill["rows_passed"] / max(backfill["total"], 1))
        return {"step": step["name"], "share": round(share, 4), "eta_s": backfill["eta_s"]}
    if step["name"].startswith("measure ") and "change" in plan:
        parsed = Plan.model_validate(plan)
        total_s = expected_seconds(parsed.service.probe, 2 * len(parsed.change.pairs()))
        elapsed_s = (datetime.now(UTC) - datetime.fromisoformat(step["started"])).total_seconds()
        share = min(1.0, max(0.0, elapsed_s / total_s))
        return {"step": step["name"], "share": round(share, 2), "eta_s": round(max(0.0, total_s - elapsed_s))}
    return None


def _verdict(outcomes: list[Outcome]) -> Any:
    """Return the verdict behind the decision: the extended one if it exists. The record shows the one after a rollback."""
    verdicts = [outcome for outcome in outcomes if outcome.kind == "Verdict" and outcome.step != "judge restored"]
    return verdicts[-1].body if verdicts else None


def _latest(outcomes: list[Outcome], kind: str, default: Any) -> Any:
    bodies = [outcome.body for outcome in outcomes if outcome.kind == kind]
    return bodies[-1] if bodies else default


def _tagged(run: Document, prefix: str) -> str | None:
    tags: list[str] = run.get("tags") or []
    return next((tag.removeprefix(f"{prefix}:") for tag in tags if tag.startswith(f"{prefix}:")), None)
