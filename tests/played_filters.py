"""What a played Prefect finds for the filters that the admin service sends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

Document = dict[str, Any]


def at(moment: str) -> datetime:
    """A time as it can be compared."""
    return datetime.fromisoformat(moment)


def filter_runs(body: Document, runs: Document, jobs: Document) -> list[Document]:
    """`/flow_runs/filter`."""
    wanted, named = body.get("flow_runs", {}), body.get("deployments", {}).get("name", {}).get("any_")
    span = wanted.get("expected_start_time", {})
    since, before = (at(span[name]) if name in span else None for name in ("after_", "before_"))
    ids = {job["id"] for job in jobs.values() if named is None or job["name"] in named}
    found = [
        run
        for run in list(runs.values())
        if run["deployment_id"] in ids
        and ("id" not in wanted or run["id"] in wanted["id"]["any_"])
        and ("state" not in wanted or run["state"]["type"] in wanted["state"]["type"]["any_"])
        and set(wanted.get("tags", {}).get("all_", [])) <= set(run["tags"])
        and ("idempotency_key" not in wanted or run["idempotency_key"] in wanted["idempotency_key"]["any_"])
        and (since is None or at(run["expected_start_time"]) >= since)
        and (before is None or at(run["expected_start_time"]) <= before)
    ]
    found.sort(key=lambda run: at(run["expected_start_time"]), reverse=body["sort"].endswith("DESC"))
    return found[: body["limit"]]


def filter_steps(body: Document, steps: Document) -> list[Document]:
    """`/task_runs/filter`."""
    found = [step for step in steps.values() if step["flow_run_id"] in body["flow_runs"]["id"]["any_"]]
    return found[body["offset"] :][: body["limit"]]


def filter_logs(body: Document, logs: list[Document]) -> list[Document]:
    """`/logs/filter`."""
    wanted = body["logs"]
    since = at(wanted["timestamp"]["after_"]) if "timestamp" in wanted else None
    found = [
        line
        for line in logs
        if line["flow_run_id"] in wanted["flow_run_id"]["any_"] and (since is None or at(line["timestamp"]) >= since)
    ]
    return sorted(found, key=lambda line: at(line["timestamp"]))[: body["limit"]]
