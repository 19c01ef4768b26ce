"""`make deploy`: the work pool and every deployment of prefect.yaml. Safe to repeat."""

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
    """Install pool, automations and jobs on the Prefect server that PREFECT_API_URL names. Raises SlipwayError."""
    create_pool(environment["PREFECT_API_URL"])
    automations.install(environment["PREFECT_API_URL"])
    deploy_jobs(environment)


def deploy_jobs(environment: Mapping[str, str]) -> None:
    """Install every job of prefect.yaml, once it has been read strictly. Raises SlipwayError."""
    read_jobs(FILE)
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    ran = subprocess.run(
        argv, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if ran.returncode != 0:
        raise SlipwayError(
            f"`prefect deploy --all` ended with {ran.returncode}: {(ran.stderr or ran.stdout).strip()[-800:]}",
            expected="Every job of prefect.yaml deployed.",
            retry_is_safe=True,
        )


def create_pool(api: str) -> None:
    """Install the work pool; one that is there already stays as it is. Raises Unavailable."""
    try:
        answer = httpx.post(f"{api}/work_pools/", json={"name": POOL, "type": POOL_TYPE}, timeout=30, trust_env=False)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Prefect does not answer at {api}: {type(error).__name__}.", expected="A Prefect server."
        ) from None
    if answer.status_code not in (201, 409):  # 409: the pool is there already
        raise Unavailable(f"Prefect answers {answer.status_code} to a new work pool.", expected="A Prefect server.")


def forget_runs(api: str) -> int:
    """Cancel every run that is not over, so that a worker does not go on with it; the answer is how many there were."""
    on_the_way = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING", "PAUSED", "CRASHED"]}}
    again = {"name": {"any_": ["AwaitingRetry", "Resuming"]}}
    state = {"type": "CANCELLED", "name": "Cancelled", "message": "The service that it changed was made anew."}
    count = 0
    with httpx.Client(base_url=api, timeout=30, trust_env=False) as client:
        for wanted in (on_the_way, again):
            runs = client.post("/flow_runs/filter", json={"flow_runs": {"state": wanted}}).raise_for_status().json()
            for run in runs:
                client.post(
                    f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": True}
                ).raise_for_status()
            count += len(runs)
    return count


if __name__ == "__main__":
    if "PREFECT_API_URL" not in os.environ:
        sys.exit("PREFECT_API_URL is not set. Expected: the address of the Prefect server's API.")
    deploy(os.environ)
