"""The audit of the example shop on the running stack, from job to page."""

from __future__ import annotations

import httpx
import pytest

from slipway.client.http import AdminClient
from tests.stack.runs import Run, finished

OVER_HTTP = {"cookie-secure", "transport-security"}
UNDECLARED = {"upload-limit", "logging"}


@pytest.fixture(scope="module")
def audited(client: AdminClient) -> Run:
    """Return the run that audited the example shop."""
    return finished(client, client.start("audit-service", {"service": "shop"}))


def test_the_shop_passes_its_audit(audited: Run) -> None:
    """Every item that can be checked passes. Every other item states the reason."""
    items = audited["audit"]["items"]
    assert [item for item in items if item["result"] == "fail"] == []
    assert audited["state"]["name"] == "Passed", audited["failures"]
    unchecked = {item["code"]: item["summary"] for item in items if item["result"] == "not checked"}
    assert set(unchecked) >= OVER_HTTP | UNDECLARED and all(unchecked.values())
    passed = {item["code"] for item in items if item["result"] == "pass"}
    assert {"leak-probe", "database-role", "personal-pages", "content-security-policy", "header-lint"} <= passed


def test_the_page_shows_the_checklist(http: httpx.Client, audited: Run) -> None:
    """The page shows each item with its result."""
    page = http.get(f"/pages/runs/{audited['id']}").text
    assert all(item["code"] in page for item in audited["audit"]["items"])
    assert "slipway_shop_app is neither superuser nor owner." in page
