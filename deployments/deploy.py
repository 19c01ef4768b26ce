"""`make deploy`: create the work pool and every deployment of prefect.yaml. Safe to repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from slipway.core.errors import SlipwayError, Unavailable
from slipway.deployments import automations
from slipway.deployments.jobs_file import FILE, read_jobs

ROOT = Path(__file__).resolve().parent.parent
POOL, POOL_TYPE = "slipway", "slipway"


def deploy(environment: Mapping[str, str]) -> None:
    """Install the work pool, automations and jobs on the Prefect server at PREFECT_API_URL. Raises SlipwayError."""
    create_pool(environment["PREFECT_API_URL"])
    automations.install(environment["PREFECT_API_URL"])
    deploy_jobs(environment)


def deploy_jobs(environment: Mapping[str, str]) -> None:
    """Validate prefect.yaml, then install all its jobs. Raises SlipwayError."""
    read_jobs(FILE)
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    result = subprocess.run(
        argv, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise SlipwayError(
            f"`prefect deploy --all` exited with {result.returncode}: {(result.stderr or result.stdout).strip()[-800:]}",
            expected="Prefect deploys every job of prefect.yaml.",
            retry_is_safe=True,
        )


def create_pool(api: str) -> None:
    """Create the work pool. An existing pool stays unchanged. Raises Unavailable."""
    try:
        response = httpx.post(f"{api}/work_pools/", json={"name": POOL, "type": POOL_TYPE}, timeout=30, trust_env=False)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Prefect does not answer at {api}: {type(error).__name__}.",
            expected="A Prefect server answers at PREFECT_API_URL.",
        ) from None
    if response.status_code not in (201, 409):  # 409: the pool exists
        raise Unavailable(
            f"Could not create the work pool: Prefect answers {response.status_code}.",
            expected="Prefect answers 201, or 409 for an existing pool.",
        )


def cancel_runs(api: str) -> int:
    """Cancel every unfinished run, so that no worker continues it. Return the number of cancelled runs."""
    unfinished = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING", "PAUSED", "CRASHED"]}}
    scheduled_again = {"name": {"any_": ["AwaitingRetry", "Resuming"]}}
    cancelled = {
        "type": "CANCELLED",
        "name": "Cancelled",
        "message": "The service that this run changed was created again.",
    }
    count = 0
    with httpx.Client(base_url=api, timeout=30, trust_env=False) as client:
        for state_filter in (unfinished, scheduled_again):
            runs = (
                client.post("/flow_runs/filter", json={"flow_runs": {"state": state_filter}}).raise_for_status().json()
            )
            for run in runs:
                client.post(
                    f"/flow_runs/{run['id']}/set_state", json={"state": cancelled, "force": True}
                ).raise_for_status()
            count += len(runs)
    return count


if __name__ == "__main__":
    if "PREFECT_API_URL" not in os.environ:
        sys.exit("PREFECT_API_URL is not set. Set it to the address of the Prefect server's API.")
    deploy(os.environ)
