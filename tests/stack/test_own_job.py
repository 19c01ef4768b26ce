"""An added job: the code from docs/how-to/own-jobs.md, deployed, and started with its generated form."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from slipway.client.http import AdminClient
from slipway.deployments.jobs_file import read_jobs
from slipway.deployments.stack import Stack
from tests.stack.runs import finished

ROOT = Path(__file__).parents[2]
NAME = "warm-pages"


@pytest.fixture(scope="module")
def own_job(stack: Stack, own_code: Path) -> str:
    """Deploy the example of the documentation from its own folder. Return its name."""
    text = (ROOT / "docs" / "how-to" / "own-jobs.md").read_text(encoding="utf-8")
    code, entry = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "yaml"))  # type: ignore[index]
    (own_code / "own_warm_pages.py").write_text(code, encoding="utf-8")
    head = (ROOT / "prefect.yaml").read_text(encoding="utf-8").partition("deployments:")[0]
    file = own_code / "prefect.yaml"
    file.write_text(f"{head}deployments:\n{entry}", encoding="utf-8")
    assert [job.name for job in read_jobs(file).deployments] == [NAME]  # it passes the strict validation
    file.write_text(file.read_text().replace("slipway.flows.warm_pages.", "own_warm_pages."), encoding="utf-8")
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    path = f"{own_code}:{ROOT}"
    environment = {**stack.environment, "PYTHONPATH": path}
    result = subprocess.run(
        argv, cwd=own_code, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return NAME


def test_an_added_job_has_a_form_and_runs(own_job: str, http: httpx.Client, client: AdminClient) -> None:
    """The form has card, choices, limits, defaults and descriptions. It starts the job, and the run is listed."""
    page = http.get(f"/pages/jobs/{own_job}").text
    for part in (
        "<strong>Owner:</strong> web team",
        'min="1" max="5"',
        "how often each page is read; 1 to 5; default: 2",
        '<option value="start" selected>start</option>',
        '<option value="shop">shop</option>',
    ):
        assert part in page, part
    key = re.search(r'name="key" value="([^"]+)"', page)
    assert key
    form = {"key": key[1], "p.service": "shop", "p.rounds": "3", "p.pages": "catalogue", "p.note": "by hand"}
    refused = http.post(f"/pages/jobs/{own_job}", data={**form, "p.rounds": "6"})
    assert refused.status_code == 422 and "At most 5." in refused.text
    started, again = (http.post(f"/pages/jobs/{own_job}", data=form) for _ in range(2))
    assert started.status_code == 303 and again.headers["location"] == started.headers["location"]
    run = finished(client, client.run(started.headers["location"].rpartition("/")[2]))
    assert run["state"]["message"] == "3 reads of catalogue. by hand", run
    assert (run["job"], run["service"], run["name"]) == (own_job, "shop", "warm-pages shop")
    assert f"/pages/runs/{run['id']}" in http.get(f"/pages/jobs/{own_job}").text
    assert "read page" in http.get(f"/pages/runs/{run['id']}").text


def test_the_run_in_prefect_links_to_its_page(
    own_job: str, stack: Stack, http: httpx.Client, client: AdminClient
) -> None:
    """The run in Prefect has our tags and a link to its page. The page links to the run in Prefect."""
    [run] = [entry for entry in client.runs(50) if entry["job"] == own_job]
    api = httpx.Client(base_url=f"{stack.prefect_url}/api", trust_env=False)
    with api:
        flow_run = api.get(f"/flow_runs/{run['id']}").json()
        query = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}, "type": {"any_": ["markdown"]}}}
        links = [artifact["data"] for artifact in api.post("/artifacts/filter", json=query).json()]
    assert "service:shop" in flow_run["tags"]
    assert links == [f"[This run in Slipway]({stack.admin_url}/pages/runs/{run['id']})"]
    assert f'href="{stack.prefect_url}/runs/flow-run/{run["id"]}"' in http.get(f"/pages/runs/{run['id']}").text
