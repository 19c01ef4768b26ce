"""Pages: how soon they show something and what they weigh, beside the page of the Prefect UI that tells the same.

Chromium on this machine, a new profile for each load, so that nothing comes from its cache; both pages in turn. The time is
the browser's own first contentful paint (https://www.w3.org/TR/paint-timing/), the weight what came over the wire until
the page was at rest.
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
    """Measure and print one JSON line a page; 0 when each of ours keeps to its limits."""
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        place = Path(folder)
        with Stack(place / "stack", changes=ROOT / "changes", fresh=True, say=_tell) as stack:
            run_id, job_id = _something_to_see(stack)
            pages = {
                "overview": ("/", "/dashboard"),
                "run": (f"/pages/runs/{run_id}", f"/runs/flow-run/{run_id}"),
                "job": ("/pages/jobs/measure-service", f"/deployments/deployment/{job_id}"),
            }
            with chromium() as browser:
                return max([_measure(browser, stack, name, *paths) for name, paths in pages.items()])


def _something_to_see(stack: Stack) -> tuple[str, str]:
    """A run that has measured, and the id of its job in Prefect."""
    with AdminClient(stack.admin_url, stack.token) as client:
        *_, run = client.follow(client.start("measure-service", {"service": "shop"})["id"])
    return run["id"], _deployment(stack, run["id"])


def _deployment(stack: Stack, run_id: str) -> str:
    found = httpx.get(f"{stack.prefect_url}/api/flow_runs/{run_id}", trust_env=False, timeout=30).json()
    return str(found["deployment_id"])


def _measure(browser: Browser, stack: Stack, name: str, ours: str, theirs: str) -> int:
    token = {"Authorization": f"Bearer {stack.token}"}
    own = [_load(browser, f"{stack.admin_url}{ours}", token)]  # the first of each is not counted
    peer = [_load(browser, f"{stack.prefect_url}{theirs}", {})]
    for _ in range(ROUNDS):
        own.append(_load(browser, f"{stack.admin_url}{ours}", token))
        peer.append(_load(browser, f"{stack.prefect_url}{theirs}", {}))
    a, b = (statistics.median(seconds for seconds, _ in loads[1:]) for loads in (own, peer))
    weight = max(kilobytes for _, kilobytes in own)
    line = {
        "name": f"admin/page-{name}",
        "unit": "s",
        "ours": round(a, 3),
        "peer": "Prefect UI",
        "theirs": round(b, 3),
        "ratio": round(b / a, 2),
        "kB": round(weight, 1),
        "their_kB": round(max(kilobytes for _, kilobytes in peer), 1),
    }
    print(json.dumps(line), flush=True)
    return int(a > LIMIT_S or weight > LIMIT_KB)


def _load(browser: Browser, url: str, headers: dict[str, str]) -> tuple[float, float]:
    """Seconds to the first contentful paint, and kilobytes over the wire."""
    context = browser.new_context(extra_http_headers=headers)
    try:
        page, got = context.new_page(), [0.0]
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        wire.on("Network.loadingFinished", lambda event: got.append(_bytes(event)))
        page.goto(url, wait_until="load")
        page.wait_for_function(PAINTED)
        try:
            page.wait_for_load_state("networkidle", timeout=5_000)
        except TimeoutError:
            _tell(f"{url} does not come to rest")
        return float(page.evaluate(PAINTED)) / 1_000, sum(got) / 1_000
    finally:
        context.close()


def _bytes(event: dict[str, Any]) -> float:
    return float(event["encodedDataLength"])


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
