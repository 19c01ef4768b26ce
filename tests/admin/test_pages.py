"""The pages over a run that is made up, with HTML in every field that a person or a service can fill."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from admin.app import create_app
from admin.problems import NotFound
from slipway.adapters.store import Outcome
from slipway.errors import Unavailable
from slipway.history import Mark, Point, Trend
from slipway.rules.drifting import series_of
from slipway.settings import Settings
from tests.admin.signed_in import let_in

ID = UUID("11111111-2222-3333-4444-555555555555")
EVIL = "<script>alert(1)</script>'\"&"
NOW = datetime.now(UTC)
AT = "2026-11-24T10:00:00.5Z"
RUN: dict[str, Any] = {
    "id": str(ID),
    "name": EVIL,
    "job": "backfill",
    "parameters": {"change": EVIL},
    "service": EVIL,
    "change": EVIL,
    "asked_by": EVIL,
    "state": {"type": "RUNNING", "name": EVIL, "message": EVIL},
    "created": AT,
    "planned": None,
    "started": AT,
    "ended": None,
    "steps": [
        {"name": EVIL, "state": {"type": "FAILED", "name": EVIL, "message": EVIL}, "started": AT, "seconds": 130.0}
    ],
    "leaving": {"routes": [EVIL], "tags": [EVIL], "tagged": [EVIL]},
    "findings": [{"level": "info", "summary": EVIL, "explanation": EVIL}],
    "measurements": [
        {"step": EVIL, "routes": [{"target": {"route": EVIL, "identity": EVIL}, "median_ms": 1.234, "p90_ms": None}]}
    ],
    "rehearsal": {"reversibility": "fails", "losses": [EVIL]},
    "backfill": {
        "total": 1_000,
        "total_is_exact": False,
        "rows_passed": 400,
        "rows_skipped": 2,
        "eta_s": 30.0,
        "held_because": EVIL,
    },
    "audit": {
        "items": [
            {"code": EVIL, "result": "fail", "new": True, "summary": EVIL, "evidence": [EVIL, "line 2"], "mend": EVIL}
        ]
    },
    "verdict": {"verdict": "regressed", "sentence": EVIL},
    "decision": {"word": "freeze", "reason": EVIL},
    "failures": [{"step": EVIL, "failed": EVIL, "expected": EVIL, "retry_is_safe": True}],
    "record": None,
}
RECORD = {"markdown": f"# {EVIL}\n\n![Latency](before-after.svg)\n", "picture_svg": "<svg/>", "path": "record.md"}
JOB = {
    "name": "backfill",
    "description": f"**Owner:** {EVIL}",
    "parameter_openapi_schema": {
        "properties": {"change": {"type": "string", "default": EVIL, "description": EVIL}, "n": {"anyOf": []}}
    },
    "schedules": [{"schedule": {"cron": "17 * * * *"}, "active": True, "parameters": {"service": EVIL}}],
    "paused": False,
}


class Jobs:
    """The jobs of the made-up Prefect."""

    async def all(self) -> list[dict[str, Any]]:
        return [{"name": "backfill", "paused": False}]

    async def find(self, name: str) -> dict[str, Any]:
        if name != "backfill":
            raise NotFound(f"There is no job {name!r}.", expected="One of: backfill.")
        return JOB


class MadeUp:
    """What the pages ask of the doors."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(config=folder / "slipway.toml", changes=folder)
        self.settings.config.write_text('[[service]]\nname = "shop"\nurl = "http://127.0.0.1:9"\nroutes = ["/"]\n')
        self.jobs = Jobs()
        self.found: dict[str, Any] = copy.deepcopy(RUN)
        self.asked: list[tuple[str | None, str | None, tuple[str, ...]]] = []
        self.away = False

    async def run(self, run_id: UUID) -> dict[str, Any]:
        if run_id != ID:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run.")
        return self.found

    async def detail(self, run_id: UUID) -> dict[str, Any]:
        return await self.run(run_id)

    async def runs(
        self,
        *,
        job: str | None = None,
        service: str | None = None,
        states: Any = (),
        limit: int = 0,
        readable: Any = None,
    ) -> list[dict[str, Any]]:
        if self.away:
            raise Unavailable("Prefect does not answer: ConnectError.", expected="A Prefect server.")
        self.asked.append((job, service, tuple(states)))
        kinds = {"RUNNING": [self.found], "SCHEDULED": [{**self.found, "planned": AT}]}
        return [run for kind, runs in kinds.items() if kind in states for run in runs]

    async def trend(self, service: str, points: list[Point]) -> Trend:
        mark = Mark(at=NOW, change=EVIL, came_of_it="kept")
        return Trend(service=service, series=series_of(points, []), marks=(mark,))

    async def points(self, service: str, since: datetime | None) -> list[Point]:
        if service != "shop":
            raise NotFound(f"There is no service {service!r}.", expected="One of: shop.")
        point = Point(
            run_id=str(ID),
            at=NOW,
            route=f"/{EVIL}",
            identity=EVIL,
            cache="hit",
            samples=9,
            errors=0,
            median_ms=1.5,
            p90_ms=2.5,
        )
        return [point]

    async def left_by(self, run_id: UUID) -> list[Outcome]:
        return (
            [Outcome(step="record", kind="Record", body=self.found["record"], at=NOW)] if self.found["record"] else []
        )


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    """The doors, with one run."""
    return MadeUp(tmp_path)


@pytest.fixture
def get(made_up: MadeUp) -> Callable[[str], httpx.Response]:
    """Ask the app for a page."""
    app = create_app()
    let_in(app, made_up)

    async def ask(path: str) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://127.0.0.1"
        ) as client:
            return await client.get(path)

    return lambda path: asyncio.run(ask(path))


@pytest.mark.parametrize("path", ["/", "/pages/services/shop", "/pages/jobs/backfill", f"/pages/runs/{ID}"])
def test_what_people_wrote_is_shown_and_not_obeyed(get: Callable[[str], httpx.Response], path: str) -> None:
    """Nowhere does a field become HTML, and the page says what it may load: nothing but its own files."""
    answer = get(path)
    assert answer.status_code == 200, answer.text
    assert "<script>alert" not in answer.text and "&lt;script&gt;alert(1)" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_run_that_is_on_its_way(get: Callable[[str], httpx.Response]) -> None:
    """It asks for itself again, and shows what there is so far: the rehearsal's report, the progress, what failed."""
    page = get(f"/pages/runs/{ID}").text
    assert 'hx-trigger="every 2s"' in page
    assert "<h2>Rehearsal</h2>" in page and "The way back fails: " in page
    assert "400 of about 1,000 rows are done, 30.0 s to go, 2 skipped." in page
    assert "<h2>Checklist</h2>" in page and "<td>fail, new</td>" in page and "<br>line 2</td>" in page
    assert "<td>1.23</td>" in page and "2 min" in page
    assert "Decision: freeze" in page and "Verdict: regressed" in page
    assert '<time datetime="2026-11-24T10:00:00.5Z">2026-11-24 10:00:00 UTC</time>' in page


def test_a_run_that_has_ended(get: Callable[[str], httpx.Response], made_up: MadeUp) -> None:
    """Its record stands in the page, with its picture; the page asks no more. The picture may not do anything."""
    made_up.found.update(record=RECORD, state={"type": "COMPLETED", "name": "Kept", "message": "done"}, ended=AT)
    page = get(f"/pages/runs/{ID}").text
    assert "hx-trigger" not in page
    assert f'<img src="/pages/runs/{ID}/picture.svg" alt="Latency"' in page
    assert "<h2>Rehearsal</h2>" not in page  # the record tells it
    picture = get(f"/pages/runs/{ID}/picture.svg")
    assert picture.text == "<svg/>" and picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["content-security-policy"].endswith("sandbox")


def test_what_is_planned(get: Callable[[str], httpx.Response]) -> None:
    """A run that a schedule has planned is no run of now; it is told with its job."""
    page = get("/").text
    assert page.count(f'href="/pages/runs/{ID}"') == 1
    assert "backfill</a>, next at <time" in page


def test_a_service(get: Callable[[str], httpx.Response], made_up: MadeUp) -> None:
    """Its history with the picture that the newest run has drawn, the changes beside it, and its runs."""
    page = get("/pages/services/shop").text
    assert f'<img src="/pages/runs/{ID}/picture.svg"' in page
    assert "no baseline yet" in page and "<h3>Changes</h3>" in page
    assert {service for _, service, _ in made_up.asked} == {"shop"}


def test_nothing_yet(get: Callable[[str], httpx.Response], made_up: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page says how to begin."""

    async def none(**_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(made_up, "runs", none)
    page = get("/").text
    assert "Nothing runs." in page and "slipway ship NAME" in page and "hx-trigger" not in page


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/pages/services/nope", 404, "There is no service &#39;nope&#39;."),
        ("/pages/jobs/nope", 404, "There is no job &#39;nope&#39;."),
        (f"/pages/runs/{UUID(int=1)}", 404, "There is no run"),
        ("/pages/runs/nope", 422, "The request is not valid"),
        (f"/pages/runs/{ID}/picture.svg", 404, "has drawn no picture"),
        ("/pages/nothing", 404, "Not Found"),
    ],
)
def test_what_is_not_there(get: Callable[[str], httpx.Response], path: str, status: int, words: str) -> None:
    """It is a page, too, with what was expected and a way back."""
    answer = get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in answer.text and "Expected: " in answer.text and '<a href="/">Overview</a>' in answer.text


def test_prefect_is_away(get: Callable[[str], httpx.Response], made_up: MadeUp) -> None:
    """The page says so, and when to come back."""
    made_up.away = True
    answer = get("/")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    assert "Prefect does not answer" in answer.text and "A retry is safe." in answer.text


def test_what_pages_are_made_of(get: Callable[[str], httpx.Response]) -> None:
    """Everything a page names is there, and together it is small."""
    names = ["style.css", "htmx.min.js", "times.js", "icon.svg"]
    page = get("/").text
    assert all(f"/static/{name}" in page for name in names)
    answers = [get(f"/static/{name}") for name in names]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sum(len(answer.content) for answer in answers) < 100_000
    assert get("/static/../pages.py").status_code == 404
