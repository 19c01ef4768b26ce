"""The pages of real runs on the running stack."""

from __future__ import annotations

import httpx

from tests.stack.runs import Run


def test_the_page_of_a_kept_run_shows_its_record(http: httpx.Client, kept: Run) -> None:
    """The page shows the same as the record: the rehearsal's report with statements and plans, the numbers, the decision."""
    runs = http.get("/pages/changes/order-history-index").text
    assert f'href="/pages/runs/{kept["id"]}"' in runs and ">Kept</span>" in runs
    page = http.get(f"/pages/runs/{kept['id']}").text
    picture = http.get(f"/pages/runs/{kept['id']}/picture.svg")
    for part in (
        "<h3>Statements of the upgrade</h3>",
        "<h3>Findings</h3>",
        "The downgrade is lossless",
        "<h3>Before and after</h3>",
    ):
        assert part in page
    assert "CREATE INDEX CONCURRENTLY" in page and "<code>alembic upgrade 0008</code>" in page
    assert "Decision: keep" in page and "measure before" in page and "/orders as customer" in page
    assert picture.headers["content-type"] == "image/svg+xml" and "<svg" in picture.text


def test_the_page_of_a_job_lists_its_runs(http: httpx.Client, kept: Run) -> None:
    """The page shows the card, a field for each parameter, and the runs."""
    page = http.get("/pages/jobs/ship-change").text
    assert "<strong>Owner:</strong>" in page and 'type="checkbox" id="f-staging"' in page
    assert f'href="/pages/runs/{kept["id"]}"' in page
