"""The example shop, audited through the command line on the running stack."""

from __future__ import annotations

import subprocess

import httpx
import pytest

from deployments.stack import Stack
from slipway.adapters.admin_client import AdminClient
from tests.stack.runs import Run, finished, step_names

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
