"""Compare the paint time and the size of each page with the page of the Prefect UI that shows the same.

Chromium on this machine loads both pages alternately, each time with a new profile, so that nothing comes from its cache.
The time is the browser's first contentful paint (https://www.w3.org/TR/paint-timing/). The size is all bytes received
until the network is idle.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, TimeoutError

from benchmarks.browser import chromium
from slipway.client.http import AdminClient
from slipway.deployments.deploy import ROOT
from slipway.deployments.processes import exit_on_sigterm
from slipway.deployments.stack import Stack

ROUNDS = 7
LIMIT_S, LIMIT_KB = 0.3, 150
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> int:
    """Measure and print one JSON line per page. Return 0 if each page of the admin service is within its limits."""
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder_name:
        folder = Path(folder_name)
        with Stack(folder / "stack", changes=ROOT / "changes", fresh=True, report=_log) as stack:
            run_id, job_id = _measure_the_shop(stack)
            pages = {
                "overview": ("/", "/dashboard"),
                "run": (f"/pages/runs/{run_id}", f"/runs/flow-run/{run_id}"),
                "job": ("/pages/jobs/measure-service", f"/deployments/deployment/{job_id}"),
            }
            with chromium() as browser:
                return max([_measure(browser, stack, name, *paths) for name, paths in pages.items()])


def _measure_the_shop(stack: Stack) -> tuple[str, str]:
    """Execute a measurement. Return the ids of the run and of its deployment in Prefect."""
    with AdminClient(stack.admin_url, stack.token) as client:
        *_, run = client.follow(client.start("measure-service", {"service": "shop"})["id"])
    return run["id"], _deployment(stack, run["id"])


def _deployment(stack: Stack, run_id: str) -> str:
    run = httpx.get(f"{stack.prefect_url}/api/flow_runs/{run_id}", trust_env=False, timeout=30).json()
    return str(run["deployment_id"])


def _measure(browser: Browser, stack: Stack, name: str, ours: str, theirs: str) -> int:
    token = {"Authorization": f"Bearer {stack.token}"}
    admin_loads = [_load(browser, f"{stack.admin_url}{ours}", token)]  # the first load of each page does not count
    prefect_loads = [_load(browser, f"{stack.prefect_url}{theirs}", {})]
    for _ in range(ROUNDS):
        admin_loads.append(_load(browser, f"{stack.admin_url}{ours}", token))
        prefect_loads.append(_load(browser, f"{stack.prefect_url}{theirs}", {}))
    a, b = (statistics.median(seconds for seconds, _ in loads[1:]) for loads in (admin_loads, prefect_loads))
    kilobytes_max = max(kilobytes for _, kilobytes in admin_loads)
    line = {
        "name": f"admin/page-{name}",
        "unit": "s",
        "ours": round(a, 3),
        "peer": "Prefect UI",
        "theirs": round(b, 3),
        "ratio": round(b / a, 2),
        "kB": round(kilobytes_max, 1),
        "their_kB": round(max(kilobytes for _, kilobytes in prefect_loads), 1),
    }
    print(json.dumps(line), flush=True)
    return int(a > LIMIT_S or kilobytes_max > LIMIT_KB)


def _load(browser: Browser, url: str, headers: dict[str, str]) -> tuple[float, float]:
    """Return the seconds until the first contentful paint, and the received kilobytes."""
    context = browser.new_context(extra_http_headers=headers)
    try:
        page, received = context.new_page(), [0.0]
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: received.append(_bytes(event)))
        page.goto(url, wait_until="load")
        page.wait_for_function(PAINTED)
        try:
            page.wait_for_load_state("networkidle", timeout=5_000)
        except TimeoutError:
            _log(f"the network does not become idle on {url}")
        return float(page.evaluate(PAINTED)) / 1_000, sum(received) / 1_000
    finally:
        context.close()


def _bytes(event: dict[str, Any]) -> float:
    return float(event["encodedDataLength"])


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
