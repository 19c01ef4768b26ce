"""The access log, the access page, and that two people stand behind what is approved."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from slipway.accounts.grants import Grant, utc_now
from slipway.accounts.log import AccessLog
from slipway.admin.auth.caller import CALLER, Caller
from slipway.admin.jobs import Jobs, describe
from slipway.admin.problems import Forbidden
from slipway.core.errors import Unavailable
from slipway.runs.disabled_jobs import DisabledJobs
from slipway.runs.store import Store
from tests.admin.auth.conftest import PASSWORD, RUN, World, csrf

TOLD = {"who": "ada", "how": "session", "address": "", "what": "start run", "on": "/"}
FORGE = (
    "UPDATE access_log SET who = 'eve'",
    "DELETE FROM access_log",
    "TRUNCATE access_log",
    "UPDATE access_log SET who = 'eve' WHERE false",
)


@pytest.mark.parametrize("statement", FORGE)
def test_the_log_only_grows(world: World, statement: str) -> None:
    """The database itself refuses to change an entry, also to the role of the service."""
    world.access.log.add(who="ada", how="session", address="", what="start run", on="/", outcome="done: 202")
    with pytest.raises(DBAPIError, match="the access log only grows"), world.store.transaction() as connection:
        connection.execute(text(statement))
    assert [entry[0] for entry in world.log()] == ["ada"]


def test_a_role_that_only_appends_is_enough(world: World, database: str) -> None:
    """As docs/access.md grants it: it reads and adds, and can neither change an entry nor take the trigger away."""
    with world.store.transaction() as connection:
        for statement in (
            "DROP ROLE IF EXISTS slipway_service",
            "CREATE ROLE slipway_service LOGIN PASSWORD 'of-the-test'",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO slipway_service",
            "REVOKE UPDATE, DELETE ON access_log FROM slipway_service",
        ):
            connection.execute(text(statement))
    url = make_url(database).set(username="slipway_service", password="of-the-test")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with closing(Store(url.render_as_string(hide_password=False))) as store:
            log = AccessLog(store)
            log.add(**TOLD, begun=log.begin(**TOLD), outcome="done: 202")
            assert [entry.outcome for entry in log.newest(10)] == ["done: 202"]
        with engine.connect() as connection:
            for statement in (*FORGE, "ALTER TABLE access_log DISABLE TRIGGER ALL", "DROP TABLE access_log"):
                with pytest.raises(DBAPIError):
                    connection.execute(text(statement))
            assert connection.execute(text("SELECT count(*) FROM access_log")).scalar() == 1
    finally:
        engine.dispose()
        with world.store.transaction() as connection:
            connection.execute(text("DROP OWNED BY slipway_service"))
            connection.execute(text("DROP ROLE slipway_service"))


def test_what_acts_stands_there_before_it_is_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is killed behind an answer: minutes later the log says that nobody knows what came of it, once."""
    browser = world.signed_in("ada", "operator")
    monkeypatch.setattr(world.access, "later", lambda noting: noting.close())  # as if the process ended here
    assert browser.post(f"/runs/{RUN}/cancel", json={}).status_code == 422
    monkeypatch.undo()
    assert len(world.log()) == 1  # the sign-in; what is under way may still be answered
    with world.store.transaction() as connection:
        connection.execute(text("UPDATE access_begun SET at = at - interval '6 minutes'"))
    for _ in range(2):
        assert world.log()[1:] == [("ada", "cancel run", f"/runs/{RUN}/cancel", "unknown: it was never answered")]
    newest = world.access.log.newest(1)[0]
    assert (newest.how, newest.address) == ("session", "192.0.2.1")
    assert timedelta(minutes=5) < utc_now() - newest.at < timedelta(hours=1)  # when it began


def test_nothing_is_left_of_what_was_answered(world: World) -> None:
    """Neither what was done, nor what was refused or failed, nor what broke, is under way behind its answer."""
    browser = world.signed_in("ada", "operator")
    for path in (f"/runs/{RUN}/cancel", f"/runs/{RUN}/approve", "/runs/no-run/cancel", f"/runs/{RUN}/pause"):
        browser.post(path, json={"why": "so"})
    assert len(world.log()) == 5
    with world.store.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM access_begun")).scalar() == 0


def test_an_answer_waits_until_it_stands_there_that_it_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where that cannot be written, for the entry itself, as without it."""
    browser = world.signed_in("ada", "operator")
    order: list[str] = []

    def slowly(**told: str) -> str:
        time.sleep(0.3)  # nothing waits for this: it lets an answer that does not wait for the log come first
        order.append("begun")
        return AccessLog.begin(world.access.log, **told)

    monkeypatch.setattr(world.access.log, "begin", slowly)
    browser.post(f"/runs/{RUN}/cancel", json={})
    assert [*order, "answered"] == ["begun", "answered"]

    def away(**_: str) -> str:
        raise Unavailable("It is away.", expected="It.")

    monkeypatch.setattr(world.access.log, "begin", away)
    monkeypatch.setattr(world.access, "later", lambda _: pytest.fail("nobody would know of it"))
    browser.post(f"/runs/{RUN}/cancel", json={})
    assert [entry[3] for entry in world.log()[1:]] == ["failed: 422"] * 2


def test_what_is_logged(world: World) -> None:
    """Every action with who, how, from where, on what and what came of it; a refused read too, a plain one not."""
    browser = world.signed_in("ada", "operator")
    browser.get("/runs")
    browser.post(f"/runs/{RUN}/cancel", json={})
    browser.post(f"/runs/{RUN}/approve", json={"why": "yes"})
    browser.get("/access/log")
    machine = world.machine(world.token("robot", "viewer", account="ada"))
    machine.post(f"/runs/{RUN}/pause", json={"why": "yes"})
    world.browser().post("/pages/sign-in", data={"name": "ada", "password": "wrong"})
    world.browser().post("/pages/sign-in", data={"name": PASSWORD, "password": "ada"})
    assert world.log() == [
        ("ada", "sign in", "", "done: 303"),
        ("ada", "cancel run", f"/runs/{RUN}/cancel", "failed: 422"),
        ("ada", "approve run", f"/runs/{RUN}/approve", "refused: 403"),
        ("ada", "access log", "/access/log", "refused: 403"),
        ("ada", "pause run", f"/runs/{RUN}/pause", "refused: 403"),
        ("ada", "sign in", "", "refused: 401"),
        ("an unknown name", "sign in", "", "refused: 401"),
    ]
    entries = world.access.log.newest(10)
    assert [entry.how for entry in reversed(entries)] == ["session"] * 4 + ["token robot"] + ["none"] * 2
    assert {entry.address for entry in entries} == {"192.0.2.1"}


def test_the_log_as_json(world: World) -> None:
    """The newest first, in pages; only for admins of everything."""
    for n in range(5):
        world.access.log.add(who=f"p{n}", how="", address="", what="", on="", outcome="")
    admin = world.machine(world.token("root", "admin"))
    first = admin.get("/access/log", params={"limit": 3}).json()
    rest = admin.get("/access/log", params={"limit": 3, "cursor": first["next"]}).json()
    assert [entry["who"] for entry in first["entries"] + rest["entries"]] == ["p4", "p3", "p2", "p1", "p0"]
    assert rest["next"] is None
    assert admin.get("/access/log", params={"cursor": "x"}).status_code == 422
    assert world.machine(world.token("some", "admin", ("shop",))).get("/access/log").status_code == 403


def test_an_entry_is_one_line_of_text(world: World) -> None:
    """What somebody sends stands in the log as text: no HTML, no second line, and bounded."""
    browser = world.signed_in("ada", "admin")
    evil = "/runs/<script>alert(1)</script>%0d%0aX: y/" + "x" * 2_000
    browser.post(evil, json={})
    page = browser.get("/pages/access").text
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;??X: y" in page
    assert len(world.access.log.newest(1)[0].on) == 300


def act(browser: Any, path: str, **form: Any) -> Any:
    """Send a form of the access page."""
    return browser.post(f"/pages/access/{path}", data={"csrf": csrf(browser), **form})


def shown(page: str) -> str:
    """The secret that a page shows once."""
    return page.partition('<section class="failure">')[2].partition("<code>")[2].partition("</code>")[0]


def test_inviting_somebody(world: World) -> None:
    """An admin makes an account and passes its link on, which is shown once; the log has the name, not the link."""
    admin = world.signed_in("ada", "admin")
    made = act(admin, "people", name="Grace", role="operator", services=["shop", "bakery"])
    link = shown(made.text)
    assert made.status_code == 200 and link.startswith("http://127.0.0.1/pages/link/")
    assert made.headers["cache-control"] == "no-store"
    page = admin.get("/pages/access").text
    assert "operator of shop, bakery" in page and "invited" in page and link not in page
    grace = world.browser()
    assert grace.post(link, data={"password": PASSWORD, "again": PASSWORD}).status_code == 303
    assert grace.get("/runs").status_code == 200
    assert link.rpartition("/")[2] not in str(world.access.log.newest(100))
    for form in (
        {"name": "grace", "role": "viewer", "services": "*"},
        {"name": "<b>", "role": "viewer", "services": "*"},
    ):
        assert act(admin, "people", **form).status_code == 422
    assert act(admin, "people", name="new", role="king", services="*").status_code == 422
    assert (
        act(admin, "people", name="new", role="viewer").status_code == 422
    )  # for no service by mistake: never for all
    assert [account.name for account in world.access.accounts.all()] == ["ada", "grace"]


def test_changing_accounts(world: World) -> None:
    """Role, link, disable, enable; never one's own, so that an admin is always left."""
    admin, grace = world.signed_in("ada", "admin"), world.signed_in("grace", "operator")
    assert act(admin, "people/grace", do="role", role="viewer", services="shop").status_code == 303
    assert world.access.accounts.find("grace").grant == Grant(role="viewer", services=("shop",))
    assert grace.get("/runs").status_code == 401
    assert act(admin, "people/grace", do="disable").status_code == 303
    assert act(admin, "people/grace", do="link").status_code == 422
    assert act(admin, "people/grace", do="enable").status_code == 303
    assert "/pages/link/" in shown(act(admin, "people/grace", do="link").text)
    assert [on for who, what, on, _ in world.log() if (who, what) == ("ada", "change account")] == [
        "/pages/access/people/grace → role: viewer of shop",
        "/pages/access/people/grace → disable",
        "/pages/access/people/grace → link",
        "/pages/access/people/grace → enable",
        "/pages/access/people/grace → link",
    ]
    assert act(admin, "people/grace", do="promote").status_code == 422
    assert act(admin, "people/nobody", do="disable").status_code == 422
    assert act(admin, "people/ada", do="disable").status_code == 409
    assert act(grace, "people/grace", do="role", role="admin", services="*").status_code in (303, 403)
    assert world.access.accounts.find("grace").grant.role == "viewer"


def test_tokens_on_the_page(world: World) -> None:
    """Shown once, works, and ends when it is revoked."""
    admin = world.signed_in("ada", "admin")
    key = shown(act(admin, "tokens", name="robot", role="operator", services="shop", days=30).text)
    assert key.startswith("slipway_") and key not in admin.get("/pages/access").text
    machine = world.machine(key)
    assert machine.get("/runs").status_code == 200
    assert act(admin, "tokens", name="long", role="operator", services="*", days=400).status_code == 422
    assert act(admin, "tokens/robot/revoke").status_code == 303
    assert act(admin, "tokens/robot/revoke").status_code == 422
    assert machine.get("/runs").status_code == 401
    told = world.log()
    assert ("ada", "make token", "/pages/access/tokens → robot: operator of shop, 30 days", "done: 200") in told
    assert ("ada", "revoke token", "/pages/access/tokens/robot/revoke", "done: 303") in told
    assert key not in str(told)


class PlayedPrefect:
    """Just enough of Prefect for a start."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    async def jobs(self) -> list[dict[str, Any]]:
        kinds = {"purge-routes": "service", "rehearse-change": "change", "tidy": "days"}
        return [
            {"name": name, "id": name, "parameter_openapi_schema": {"properties": {what: {}}}}
            for name, what in kinds.items()
        ]

    async def runs(self, **_: Any) -> list[dict[str, Any]]:
        return []

    async def create_run(self, deployment_id: str, *, parameters: Any, asked_by: str, **_: Any) -> dict[str, Any]:
        self.made.append({"id": str(RUN), "name": deployment_id, "parameters": parameters, "asked_by": asked_by})
        return self.made[-1]


@pytest.mark.parametrize(
    ("role", "services", "job", "parameters", "may"),
    [
        ("operator", ("shop",), "purge-routes", {"service": "shop"}, True),
        ("operator", ("shop",), "purge-routes", {"service": "bakery"}, False),
        ("operator", ("shop",), "rehearse-change", {"change": "faster"}, True),
        ("operator", ("shop",), "rehearse-change", {"change": "bread"}, False),
        ("operator", ("shop",), "tidy", {"days": 1}, False),  # it concerns no service that is known
        ("operator", None, "tidy", {"days": 1}, True),
        ("viewer", None, "purge-routes", {"service": "shop"}, False),
    ],
)
def test_a_start_is_for_its_own_service(
    world: World, role: Any, services: Any, job: str, parameters: dict[str, Any], may: bool
) -> None:
    """The one start behind every door asks for the right to operate the service of the parameters; who asked is kept."""
    import asyncio

    prefect = PlayedPrefect()
    jobs = Jobs(prefect, world.app.state.container.settings, DisabledJobs(world.store))  # type: ignore[arg-type]
    known = CALLER.set(Caller("ada", "session", (Grant(role=role, services=services),)))
    try:
        if may:
            asyncio.run(jobs.start(job, parameters, None))
            assert prefect.made[0]["asked_by"] == "ada"
        else:
            with pytest.raises(Forbidden, match="ada may not operate"):
                asyncio.run(jobs.start(job, parameters, None))
        assert len(prefect.made) == may
    finally:
        CALLER.reset(known)


def test_schedules_of_other_services(world: World) -> None:
    """Who may read one service sees the schedules for that one, in a list of jobs that is the same for all."""
    entries = [
        {"schedule": {"cron": "1 * * * *"}, "active": True, "parameters": {"service": service}}
        for service in ("shop", "bakery")
    ]
    job = {"name": "measure-service", "parameter_openapi_schema": {}, "schedules": entries}

    def seen(services: Any) -> list[str]:
        known = CALLER.set(Caller("ada", "session", (Grant(role="viewer", services=services),)))
        try:
            return [entry["parameters"]["service"] for entry in describe(job)["schedules"]]
        finally:
            CALLER.reset(known)

    assert (seen(None), seen(("shop",))) == (["shop", "bakery"], ["shop"])


def test_without_a_caller_nothing_starts(world: World) -> None:
    """A door that the guard did not stand before starts no run."""
    import asyncio

    prefect = PlayedPrefect()
    jobs = Jobs(prefect, world.app.state.container.settings, DisabledJobs(world.store))  # type: ignore[arg-type]
    with pytest.raises(Forbidden, match="Nobody may not operate shop"):
        asyncio.run(jobs.start("purge-routes", {"service": "shop"}, None))
    assert prefect.made == []


def test_who_asked_cannot_approve(world: World) -> None:
    """Neither in a session nor by a token of the same person; another may."""
    ada, grace = world.signed_in("ada", "admin"), world.signed_in("grace", "approver")
    hers = world.machine(world.token("hers", "approver", account="ada"))
    world.app.state.container.asked_by[RUN] = "ada"
    path, yes = f"/runs/{RUN}/approve", {}
    for mine in (ada, hers):
        refused = mine.post(path, json=yes)
        assert refused.status_code == 403
        assert refused.json()["failed"] == f"ada asked for run {RUN}, and cannot approve it."
        assert (
            mine.post(path.upper().replace("/RUNS", "/runs").replace("APPROVE", "approve"), json=yes).status_code == 403
        )
        assert mine.post(f"/runs/{RUN}/reject", json=yes).status_code == 422  # to say no to one's own is no risk
    assert grace.post(path, json=yes).status_code == 422
    assert grace.post("/runs/nope/approve", json=yes).status_code == 404
