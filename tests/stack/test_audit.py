"""The example shop, audited through the command line on the running stack."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from deployments.stack import Stack
from slipway.adapters.admin_client import AdminClient
from slipway.adapters.audits import Audits
from slipway.adapters.store import Store
from slipway.audit import Audit
from tests.stack.runs import Run, finished, step_names

NAME = "refresh-audited"
FAILS = {
    "content-security-policy",
    "content-type-options",
    "referrer-policy",
    "frame-protection",
    "database-role",
}
NOT_CHECKED = {"transport-security", "cookie-secure", "upload-limit", "logging"}


@pytest.fixture(scope="module")
def run(client: AdminClient) -> Run:
    """The first audit of the shop."""
    return finished(client, client.start("audit-service", {"service": "shop"}))


def results(run: Run) -> dict[str, set[str]]:
    """The codes by result."""
    items = run["audit"]["items"]
    return {word: {item["code"] for item in items if item["result"] == word} for word in ("fail", "not checked")}


def test_the_checklist_of_the_shop(run: Run) -> None:
    """The practice shop keeps its pages private, and sends no security headers; its role owns the tables."""
    assert results(run) == {"fail": FAILS, "not checked": NOT_CHECKED}, run["audit"]
    assert len(run["audit"]["items"]) == 19
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "ItemsFailed")
    assert run["state"]["message"] == "5 fail, 10 pass, 4 not checked"
    assert step_names(run) == ["read service", "audit"]
    assert not any(item["new"] for item in run["audit"]["items"])


def test_the_checklist_in_prefect(run: Run, stack: Stack) -> None:
    """Engineers see it as an artifact of the run."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    shown = httpx.post(f"{stack.prefect_url}/api/artifacts/filter", json=wanted, trust_env=False).json()
    [artifact] = [each for each in shown if each["key"] == "audit"]
    assert "5 fail, 10 pass, 4 not checked" in artifact["description"] and "leak-probe" in str(artifact["data"])


def test_no_secret_is_told(run: Run, stack: Stack) -> None:
    """Neither the run nor its page names a value of the environment that is secret."""
    page = httpx.get(f"{stack.admin_url}/pages/runs/{run['id']}", trust_env=False, timeout=30).text
    secrets = [
        value for name, value in stack.environment.items() if "PASSWORD" in name or "SECRET" in name or "TOKEN" in name
    ]
    assert secrets and not [value for value in secrets if value in page or value in str(run)]
    assert "<h2>Checklist</h2>" in page and "no Content-Security-Policy" in page


def test_the_command_line(run: Run, stack: Stack) -> None:
    """It follows the job, prints the checklist and exits 1; what failed in the first audit is not new in the second."""
    ran = subprocess.run(
        [".venv/bin/slipway", "audit", "shop"], env=stack.environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 1, ran.stderr
    assert "audit: done in" in ran.stdout
    for line in (
        "fail         content-security-policy: Pages let any script run.",
        "    mend: Send Content-Security-Policy",
        "not checked  upload-limit: No upload is declared: [service.upload] in slipway.toml.",
        "pass         leak-probe: ",
    ):
        assert line in ran.stdout, ran.stdout
    assert "(new)" not in ran.stdout


def test_what_fails_anew(run: Run, stack: Stack, client: AdminClient) -> None:
    """Against a last audit in which nothing failed, every failure is marked as new."""
    store = Store(stack.environment["SLIPWAY_DATABASE_URL"])
    try:
        Audits(store).note("an-audit-on-a-good-day", Audit(service="shop", items=()))
    finally:
        store.close()
    audited = finished(client, client.start("audit-service", {"service": "shop"}))
    assert audited["state"]["message"] == "5 fail (5 new), 10 pass, 4 not checked"
    assert {item["code"] for item in audited["audit"]["items"] if item["new"]} == FAILS


def ship_asking_for(item: str, changes: Path, client: AdminClient) -> Run:
    """Ship the change that refreshes a page, quickly, if the service passes an item of its audit."""
    folder = changes / NAME
    shutil.copytree(
        changes / "refresh-catalogue",
        folder,
        ignore=shutil.ignore_patterns("record.md", "*.svg"),
        dirs_exist_ok=True,
    )
    written = (
        (changes / "refresh-catalogue" / "change.toml").read_text(encoding="utf-8").replace('"shop"', '"shop-quick"')
    )
    (folder / "change.toml").write_text(f'audit = ["{item}"]\n{written}', encoding="utf-8")
    return finished(client, client.start("ship-change", {"change": NAME}))


def test_a_change_to_a_service_that_is_not_fit(changes: Path, client: AdminClient) -> None:
    """It ends after the audit: nothing is measured, rehearsed, or purged."""
    run = ship_asking_for("content-security-policy", changes, client)
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "NotFit")
    assert "content-security-policy (fail): Pages let any script run." in run["state"]["message"]
    assert step_names(run)[-2:] == ["audit", "release the service"] and run["measurements"] == []


def test_a_change_to_a_service_that_is_fit(changes: Path, client: AdminClient) -> None:
    """It goes on, and its record tells what else the audit found."""
    run = ship_asking_for("leak-probe", changes, client)
    steps = step_names(run)
    assert steps.index("audit") < steps.index("inspect headers") < steps.index("measure before")
    assert run["record"] and "The audit before the change: Pages let any script run." in run["record"]["markdown"]
