"""The results of the fake Prefect server for the filters that the admin service sends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

Document = dict[str, Any]


def parse_time(moment: str) -> datetime:
    """Parse a time, so that it can be compared."""
    return datetime.fromisoformat(moment)


def filter_runs(body: Document, runs: Document, jobs: Document) -> list[Document]:
    """Return the runs for `/flow_runs/filter`."""
    run_filter, job_names = body.get("flow_runs", {}), body.get("deployments", {}).get("name", {}).get("any_")
    start_times = run_filter.get("expected_start_time", {})
    since, before = (parse_time(start_times[name]) if name in start_times else None for name in ("after_", "before_"))
    ids = {job["id"] for job in jobs.values() if job_names is None or job["name"] in job_names}
    matches = [
        run
        for run in list(runs.values())
        if run["deployment_id"] in ids
        and ("id" not in run_filter or run["id"] in run_filter["id"]["any_"])
        and ("state" not in run_filter or run["state"]["type"] in run_filter["state"]["type"]["any_"])
        and set(run_filter.get("tags", {}).get("all_", [])) <= set(run["tags"])
        and ("idempotency_key" not in run_filter or run["idempotency_key"] in run_filter["idempotency_key"]["any_"])
        and (since is None or parse_time(run["expected_start_time"]) >= since)
        and (before is None or parse_time(run["expected_start_time"]) <= before)
    ]
    matches.sort(key=lambda run: parse_time(run["expected_start_time"]), reverse=body["sort"].endswith("DESC"))
    return matches[: body["limit"]]


def filter_steps(body: Document, steps: Document) -> list[Document]:
    """Return the steps for `/task_runs/filter`."""
    matches = [step for step in steps.values() if step["flow_run_id"] in body["flow_runs"]["id"]["any_"]]
    return matches[body["offset"] :][: body["limit"]]


def filter_logs(body: Document, logs: list[Document]) -> list[Document]:
    """Return the log lines for `/logs/filter`."""
    log_filter = body["logs"]
    since = parse_time(log_filter["timestamp"]["after_"]) if "timestamp" in log_filter else None
    matches = [
        line
        for line in logs
        if line["flow_run_id"] in log_filter["flow_run_id"]["any_"]
        and (since is None or parse_time(line["timestamp"]) >= since)
    ]
    return sorted(matches, key=lambda line: parse_time(line["timestamp"]))[: body["limit"]]
