"""The pages over a run that is made up, with HTML in every field that a person or a service can fill."""

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
def test_what_people_wrote_is_shown_and_not_obeyed(get: Get, path: str) -> None:
    """Nowhere does a field become HTML, and the page says what it may load: nothing but its own files."""
    answer = get(path)
    assert answer.status_code == 200, answer.text
    assert "<script>alert" not in answer.text and "&lt;script&gt;alert(1)" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_run_that_is_on_its_way(get: Get) -> None:
    """It asks for itself again, and shows what there is so far: the rehearsal's report, the progress, what failed."""
    page = get(f"/pages/runs/{ID}").text
    assert 'hx-trigger="every 2s"' in page
    assert "<h2>Rehearsal</h2>" in page and "The way back fails: " in page
    assert "400 of about 1,000 rows are done, 2 skipped. It waits: " in page
    assert 'value="40" aria-label="Progress"' in page and "40 %, about 30 s to go" in page
    assert "<h2>Checklist</h2>" in page and "<td>fail, new</td>" in page and "<br>line 2</td>" in page
    assert "<td>1.23</td>" in page and "2 min" in page
    assert "Decision: freeze" in page and "Verdict: regressed" in page
    assert '<time datetime="2026-11-24T10:00:00.5Z">2026-11-24 10:00:00 UTC</time>' in page
    assert f'href="http://127.0.0.1:4200/runs/flow-run/{ID}"' in page


def test_only_what_has_changed_is_sent_again(ask: Ask, made_up: MadeUp) -> None:
    """The live part alone answers the script; nothing (204) when the browser has it, and no asking once the run is over."""
    live = {"HX-Request": "true"}
    part = ask("GET", f"/pages/runs/{ID}", headers=live).text
    assert part.startswith('<div id="live"') and "<html" not in part
    found = re.search(r'hx-get="([^"]+)"', part)
    assert found and ask("GET", found[1], headers=live).status_code == 204
    assert "<html" in ask("GET", found[1]).text  # by hand it is the whole page
    made_up.found["state"] = {"type": "COMPLETED", "name": "Backfilled", "message": "all"}
    after = ask("GET", found[1], headers=live)
    assert after.status_code == 200 and "hx-get" not in after.text


def test_a_run_that_has_ended(get: Get, made_up: MadeUp) -> None:
    """Its record stands in the page, with its picture; the page asks no more. The picture may not do anything."""
    made_up.found.update(record=RECORD, state={"type": "COMPLETED", "name": "Kept", "message": "done"}, ended=AT)
    page = get(f"/pages/runs/{ID}").text
    assert 'hx-trigger="every' not in page
    assert f'<img src="/pages/runs/{ID}/picture.svg" alt="Latency"' in page
    assert "<h2>Rehearsal</h2>" not in page  # the record tells it
    picture = get(f"/pages/runs/{ID}/picture.svg")
    assert picture.text == "<svg/>" and picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["content-security-policy"].endswith("sandbox")


def test_the_log(get: Get, made_up: MadeUp) -> None:
    """Its lines in their order, the grave ones with a word; an empty one says so."""
    page = get(f"/pages/runs/{ID}/logs").text
    assert page.index("warning:</strong>") < page.index("error:</strong>")
    made_up.lines = []
    assert "Nothing has been logged yet." in get(f"/pages/runs/{ID}/logs").text


def test_what_is_planned(get: Get) -> None:
    """A run that a schedule has planned is no run of now; it is told with its job."""
    page = get("/").text
    assert page.count(f'href="/pages/runs/{ID}"') == 1
    assert re.search(r'backfill</a></span>\s*<span class="when">next at <time', page)


def test_what_waits_for_a_person(get: Get, made_up: MadeUp) -> None:
    """A frozen change is asked about until a later run of it has settled it."""
    frozen = {**made_up.found, "state": {"type": "FAILED", "name": "Frozen", "message": "no clear answer"}}
    made_up.found = frozen
    assert "It is frozen: keep it, or roll it back." in get("/").text
    undone = {"type": "COMPLETED", "name": "RolledBack", "message": "back"}
    made_up.others = [{**frozen, "id": str(UUID(int=2)), "state": undone, "created": "2026-11-24T11:00:00Z"}]
    assert "is frozen" not in get("/").text


def test_what_waits_is_not_hidden_by_what_came_later(get: Get, made_up: MadeUp) -> None:
    """A frozen change of last week is asked about, however many measurements there were since."""
    frozen = {**made_up.found, "state": {"type": "FAILED", "name": "Frozen", "message": "no clear answer"}}
    old = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    made_up.found = {**frozen, "created": old}
    done = {"type": "COMPLETED", "name": "Completed", "message": ""}
    made_up.others = [
        {**frozen, "id": str(UUID(int=n)), "job": "measure-service", "change": None, "state": done, "created": AT}
        for n in range(200)
    ]
    assert "It is frozen: keep it, or roll it back." in get("/").text


def test_a_service(get: Get, made_up: MadeUp) -> None:
    """Its history with the picture that the newest run has drawn, its last audit, its changes, its runs, and what it offers."""
    page = get("/pages/services/shop").text
    assert f'<img src="/pages/runs/{ID}/picture.svg"' in page
    assert "no baseline yet" in page and "<h3>Changes</h3>" in page
    assert "1 fail (1 new), 0 pass, 0 not checked</a>" in page and "<strong>leak-probe</strong>, new:" in page
    assert f'href="/pages/changes/{CHANGE}"' in page and 'href="/pages/jobs/purge-routes?p.service=shop"' in page
    assert {service for _, service, _ in made_up.asked} == {"shop"}
    made_up.audit = None
    assert "slipway audit shop" in get("/pages/services/shop").text


def test_a_change(get: Get) -> None:
    """Its plan in words, a button for each thing that can be done with it, and its record with the picture beside it."""
    page = get(f"/pages/changes/{CHANGE}").text
    for words in (
        "after the rehearsal, for 24 hours",
        "from 0007 to 0008",
        "/orders as customer, beside /products/1 as customer, which the change cannot affect",
        "not-regressed: nothing may be slower, by a margin of 10%",
        ">Rehearse</button>",
        ">Ship…</button>",
        ">Roll back…</button>",
    ):
        assert words in page, words
    assert f'<img src="/pages/changes/{CHANGE}/picture.svg"' in page
    assert get(f"/pages/changes/{CHANGE}/picture.svg").text == "<svg/>"


def test_a_change_whose_file_is_wrong(get: Get, made_up: MadeUp) -> None:
    """It stands in the list and on its page with what is wrong; nothing can be done with it."""
    (made_up.settings.changes / CHANGE / "change.toml").write_text(PLAN.replace("[migrate]", "[migrat]"))
    assert "migrat: unknown key" in get("/pages/changes").text
    page = get(f"/pages/changes/{CHANGE}").text
    assert "Its file cannot be read." in page and "/pages/jobs/ship-change" not in page


def test_runs_a_page_at_a_time(get: Get, made_up: MadeUp) -> None:
    """By job, service, state and time; the cursor goes on with the same choice, and a choice that is none is refused."""
    page = get("/pages/runs?job=backfill&service=shop&state=on+the+way&since=a+month").text
    assert made_up.wanted
    wanted, since, _ = made_up.wanted
    assert (wanted.job, wanted.service, wanted.states[0]) == ("backfill", "shop", "SCHEDULED")
    assert timedelta(days=29) < datetime.now(UTC) - since < timedelta(days=31)
    older = re.search(r'href="([^"]+)">Older</a>', page)
    assert older and "Newest" in get(html.unescape(older[1])).text
    assert made_up.wanted[0].job == "backfill" and made_up.wanted[2].startswith("older ")
    assert get("/pages/runs?state=what").status_code == 422


def test_nothing_yet(get: Get, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page says how to begin."""

    async def none(**_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(made_up, "runs", none)
    page = get("/").text
    assert "Nothing runs." in page and "slipway ship NAME" in page and "Nothing yet." in page
    (made_up.settings.changes / CHANGE / "change.toml").unlink()
    assert "changes/&lt;name&gt;/change.toml" in get("/pages/changes").text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/pages/services/nope", 404, "There is no service &#39;nope&#39;."),
        ("/pages/jobs/nope", 404, "There is no job &#39;nope&#39;."),
        ("/pages/changes/nope", 404, "There is no change &#39;nope&#39;."),
        ("/pages/changes/nope/picture.svg", 404, "There is no picture of &#39;nope&#39;."),
        (f"/pages/runs/{UUID(int=1)}", 404, "There is no run"),
        ("/pages/runs/nope", 422, "The request is not valid"),
        (f"/pages/runs/{ID}/picture.svg", 404, "has drawn no picture"),
        (f"/pages/runs/{ID}/approve", 409, "cannot do that now"),
        ("/pages/nothing", 404, "Not Found"),
    ],
)
def test_what_is_not_there(get: Get, path: str, status: int, words: str) -> None:
    """It is a page, too, with what was expected and a way back."""
    answer = get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in answer.text and "Expected: " in answer.text and '<a href="/">Overview</a>' in answer.text


def test_prefect_is_away(get: Get, made_up: MadeUp) -> None:
    """The page says so, and when to come back."""
    made_up.away = True
    answer = get("/")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    assert "Prefect does not answer" in answer.text and "A retry is safe." in answer.text


@pytest.mark.parametrize("path", ["/", f"/pages/runs/{ID}", "/pages/jobs/warm-up", f"/pages/changes/{CHANGE}"])
def test_what_was_last_known(get: Get, made_up: MadeUp, path: str) -> None:
    """While Prefect is away the pages show what was known, and how old it is; otherwise nothing is said of it."""
    assert "Prefect does not answer" not in get(path).text
    made_up.age_s = 300.0
    assert "Prefect does not answer. This is what was known 5 min ago." in get(path).text


def test_what_could_not_be_read(get: Get, made_up: MadeUp) -> None:
    """A run that is shown without its steps says so: nothing is no answer."""
    made_up.found["missing"] = ["steps", "outcomes"]
    assert "Its steps and outcomes cannot be read just now" in get(f"/pages/runs/{ID}").text


def test_what_pages_are_made_of(get: Get) -> None:
    """Everything a page names is there, and together it is small."""
    names = ["style.css", "htmx.min.js", "times.js", "live.js", "icon.svg"]
    page = get("/").text
    assert all(f"/static/{name}" in page for name in names)
    answers = [get(f"/static/{name}") for name in names]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert sum(len(answer.content) for answer in answers) < 100_000
    assert get("/static/../pages.py").status_code == 404
