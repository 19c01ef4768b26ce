"""The pages of a sample run that has HTML in every field that a user or a service can fill."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.admin.conftest import Ask
from tests.admin.made_up import AT, CHANGE, ID, PLAN, RECORD, MadeUp

PAGES = [
    "/",
    "/pages/services/shop",
    "/pages/runs",
    "/pages/jobs",
    "/pages/jobs/backfill",
    "/pages/jobs/warm-up",
    "/pages/changes",
    f"/pages/changes/{CHANGE}",
    f"/pages/runs/{ID}",
    f"/pages/runs/{ID}/logs",
    f"/pages/runs/{ID}/cancel",
]
Get = Callable[[str], httpx.Response]


@pytest.mark.parametrize("path", PAGES)
def test_pages_escape_html_in_every_field(get: Get, path: str) -> None:
    """No field becomes HTML, and the Content-Security-Policy allows only the app's own files."""
    answer = get(path)
    assert answer.status_code == 200, answer.text
    assert "<script>alert" not in answer.text and "&lt;script&gt;alert(1)" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_page_of_a_run_in_flight(get: Get) -> None:
    """The page polls, and shows the results so far: the rehearsal report, the progress, the failures."""
    page = get(f"/pages/runs/{ID}").text
    assert 'hx-trigger="every 2s"' in page
    assert "<h2>Rehearsal</h2>" in page and "The downgrade fails: " in page
    assert "400 of about 1,000 rows are done, 2 skipped. The backfill is waiting: " in page
    assert 'value="40" aria-label="Progress"' in page and "40 %, about 30 s left" in page
    assert "<h2>Checklist</h2>" in page and "<td>fail, new</td>" in page and "<br>line 2</td>" in page
    assert "<td>1.23</td>" in page and "2 min" in page
    assert "Decision: freeze" in page and "Verdict: regressed" in page
    assert '<time datetime="2026-11-24T10:00:00.5Z">2026-11-24 10:00:00 UTC</time>' in page
    assert f'href="http://127.0.0.1:4200/runs/flow-run/{ID}"' in page


def test_live_part_is_sent_only_after_a_change(ask: Ask, made_up: MadeUp) -> None:
    """The script gets only the live part, or 204 if nothing changed. The live part stops polling once the run has ended."""
    live = {"HX-Request": "true"}
    part = ask("GET", f"/pages/runs/{ID}", headers=live).text
    assert part.startswith('<div id="live"') and "<html" not in part
    match = re.search(r'hx-get="([^"]+)"', part)
    assert match and ask("GET", match[1], headers=live).status_code == 204
    assert "<html" in ask("GET", match[1]).text  # without the header of the script: the whole page
    made_up.sample["state"] = {"type": "COMPLETED", "name": "Backfilled", "message": "all"}
    after = ask("GET", match[1], headers=live)
    assert after.status_code == 200 and "hx-get" not in after.text


def test_page_of_an_ended_run(get: Get, made_up: MadeUp) -> None:
    """The page shows the record with its picture and does not poll. The picture is sandboxed."""
    made_up.sample.update(record=RECORD, state={"type": "COMPLETED", "name": "Kept", "message": "done"}, ended=AT)
    page = get(f"/pages/runs/{ID}").text
    assert 'hx-trigger="every' not in page
    assert f'<img src="/pages/runs/{ID}/picture.svg" alt="Latency"' in page
    assert "<h2>Rehearsal</h2>" not in page  # the record contains the rehearsal
    picture = get(f"/pages/runs/{ID}/picture.svg")
    assert picture.text == "<svg/>" and picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["content-security-policy"].endswith("sandbox")


def test_log_page_marks_warnings_and_errors(get: Get, made_up: MadeUp) -> None:
    """The lines are in order, warnings and errors show their level, and an empty log says so."""
    page = get(f"/pages/runs/{ID}/logs").text
    assert page.index("warning:</strong>") < page.index("error:</strong>")
    made_up.lines = []
    assert "The log is empty." in get(f"/pages/runs/{ID}/logs").text


def test_planned_run_is_shown_with_its_job(get: Get) -> None:
    """A run that a schedule has planned is not listed as running; its time is shown next to its job."""
    page = get("/").text
    assert page.count(f'href="/pages/runs/{ID}"') == 1
    assert re.search(r'backfill</a></span>\s*<span class="when">next run at <time', page)


def test_frozen_change_is_listed_until_settled(get: Get, made_up: MadeUp) -> None:
    """The overview lists a frozen change until a later run of the same change settles it."""
    frozen = {**made_up.sample, "state": {"type": "FAILED", "name": "Frozen", "message": "no clear answer"}}
    made_up.sample = frozen
    assert "Frozen: keep the change or roll it back." in get("/").text
    rolled_back = {"type": "COMPLETED", "name": "RolledBack", "message": "back"}
    made_up.others = [{**frozen, "id": str(UUID(int=2)), "state": rolled_back, "created": "2026-11-24T11:00:00Z"}]
    assert "Frozen: keep" not in get("/").text


def test_later_runs_do_not_hide_a_frozen_change(get: Get, made_up: MadeUp) -> None:
    """The overview lists a frozen change of last week after 200 later measurements."""
    frozen = {**made_up.sample, "state": {"type": "FAILED", "name": "Frozen", "message": "no clear answer"}}
    old = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    made_up.sample = {**frozen, "created": old}
    done = {"type": "COMPLETED", "name": "Completed", "message": ""}
    made_up.others = [
        {**frozen, "id": str(UUID(int=n)), "job": "measure-service", "change": None, "state": done, "created": AT}
        for n in range(200)
    ]
    assert "Frozen: keep the change or roll it back." in get("/").text


def test_page_of_a_service(get: Get, made_up: MadeUp) -> None:
    """The page shows the history with the picture of the newest run, the last audit, the changes, the runs and the buttons."""
    page = get("/pages/services/shop").text
    assert f'<img src="/pages/runs/{ID}/picture.svg"' in page
    assert "no baseline yet" in page and "<h3>Changes</h3>" in page
    assert "1 fail (1 new), 0 pass, 0 not checked</a>" in page and "<strong>leak-probe</strong>, new:" in page
    assert f'href="/pages/changes/{CHANGE}"' in page and 'href="/pages/jobs/purge-routes?p.service=shop"' in page
    assert {service for _, service, _ in made_up.queries} == {"shop"}
    made_up.audit = None
    assert "slipway audit shop" in get("/pages/services/shop").text


def test_page_of_a_change(get: Get) -> None:
    """The page shows the plan, a button for each job of the change, and the record with its picture."""
    page = get(f"/pages/changes/{CHANGE}").text
    for text in (
        "within 24 hours after the rehearsal",
        "from 0007 to 0008",
        "/orders as customer; control: /products/1 as customer, which the change cannot affect",
        "not-regressed: no target may be slower, by a margin of 10%",
        ">Rehearse</button>",
        ">Ship…</button>",
        ">Roll back…</button>",
    ):
        assert text in page, text
    assert f'<img src="/pages/changes/{CHANGE}/picture.svg"' in page
    assert get(f"/pages/changes/{CHANGE}/picture.svg").text == "<svg/>"


def test_change_with_an_invalid_file_shows_the_error(get: Get, made_up: MadeUp) -> None:
    """The list and the page of the change show the error; the page has no buttons."""
    (made_up.settings.changes / CHANGE / "change.toml").write_text(PLAN.replace("[migrate]", "[migrat]"))
    assert "migrat: unknown key" in get("/pages/changes").text
    page = get(f"/pages/changes/{CHANGE}").text
    assert "The file of this change cannot be read." in page and "/pages/jobs/ship-change" not in page


def test_run_list_is_filtered_and_paginated(get: Get, made_up: MadeUp) -> None:
    """The filter has job, service, state and age. The cursor keeps the filter; an unknown filter value is refused."""
    page = get("/pages/runs?job=backfill&service=shop&state=on+the+way&since=a+month").text
    assert made_up.page_request
    run_filter, since, _ = made_up.page_request
    assert (run_filter.job, run_filter.service, run_filter.states[0]) == ("backfill", "shop", "SCHEDULED")
    assert timedelta(days=29) < datetime.now(UTC) - since < timedelta(days=31)
    older = re.search(r'href="([^"]+)">Older</a>', page)
    assert older and "Newest" in get(html.unescape(older[1])).text
    assert made_up.page_request[0].job == "backfill" and made_up.page_request[2].startswith("older ")
    assert get("/pages/runs?state=what").status_code == 422


def test_empty_pages_say_how_to_start(get: Get, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page names the next step."""

    async def none(**_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(made_up, "runs", none)
    page = get("/").text
    assert "No run is in progress." in page and "slipway ship NAME" in page and "None. Completed and" in page
    (made_up.settings.changes / CHANGE / "change.toml").unlink()
    assert "changes/&lt;name&gt;/change.toml" in get("/pages/changes").text


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/pages/services/nope", 404, "There is no service &#39;nope&#39;."),
        ("/pages/jobs/nope", 404, "There is no job &#39;nope&#39;."),
        ("/pages/changes/nope", 404, "There is no change &#39;nope&#39;."),
        ("/pages/changes/nope/picture.svg", 404, "There is no picture of &#39;nope&#39;."),
        (f"/pages/runs/{UUID(int=1)}", 404, "There is no run"),
        ("/pages/runs/nope", 422, "The request is not valid"),
        (f"/pages/runs/{ID}/picture.svg", 404, "has no picture"),
        (f"/pages/runs/{ID}/approve", 409, "does not allow this action"),
        ("/pages/nothing", 404, "Not Found"),
    ],
)
def test_errors_are_pages(get: Get, path: str, status: int, message: str) -> None:
    """An error is an HTML page with the message, what was expected, and a link to the overview."""
    answer = get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert message in answer.text and "Expected: " in answer.text and '<a href="/">Overview</a>' in answer.text


def test_page_without_prefect_is_a_503(get: Get, made_up: MadeUp) -> None:
    """The page says that Prefect does not answer, and has a `Retry-After` header."""
    made_up.away = True
    answer = get("/")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    assert "Prefect does not answer" in answer.text and "A retry is safe." in answer.text


@pytest.mark.parametrize("path", ["/", f"/pages/runs/{ID}", "/pages/jobs/warm-up", f"/pages/changes/{CHANGE}"])
def test_stale_pages_show_the_age_of_the_data(get: Get, made_up: MadeUp, path: str) -> None:
    """While Prefect does not answer, the pages show the last known state and its age."""
    assert "Prefect does not answer" not in get(path).text
    made_up.age_s = 300.0
    assert "Prefect does not answer. This page shows the state from 5 min ago." in get(path).text


def test_page_names_the_parts_that_could_not_be_read(get: Get, made_up: MadeUp) -> None:
    """The page of a run whose steps could not be read says so; it does not just leave the steps out."""
    made_up.sample["missing"] = ["steps", "outcomes"]
    assert "Could not read the steps and outcomes of this run." in get(f"/pages/runs/{ID}").text


def test_static_files_exist_and_are_small(get: Get) -> None:
    """Every static file that a page names exists, and together they have less than 100,000 bytes."""
    names = ["style.css", "htmx.min.js", "times.js", "live.js", "icon.svg"]
    page = get("/").text
    assert all(f"/static/{name}" in page for name in names)
    answers = [get(f"/static/{name}") for name in names]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert sum(len(answer.content) for answer in answers) < 100_000
    assert get("/static/../pages.py").status_code == 404
