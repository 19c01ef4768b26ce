"""The access log, the access page, and the rule that an approval needs a second person."""

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

ACTION = {"who": "ada", "how": "session", "address": "", "what": "start run", "on": "/"}
CHANGES = (
    "UPDATE access_log SET who = 'eve'",
    "DELETE FROM access_log",
    "TRUNCATE access_log",
    "UPDATE access_log SET who = 'eve' WHERE false",
)


@pytest.mark.parametrize("statement", CHANGES)
def test_the_database_rejects_changes_to_log_entries(world: World, statement: str) -> None:
    """The trigger rejects changes even by the role that owns the table."""
    world.access.log.add(who="ada", how="session", address="", what="start run", on="/", outcome="done: 202")
    with pytest.raises(DBAPIError, match="the access log only grows"), world.store.transaction() as connection:
        connection.execute(text(statement))
    assert [entry[0] for entry in world.log()] == ["ada"]


def test_the_service_runs_with_a_role_that_cannot_change_the_log(world: World, database: str) -> None:
    """The role from the access guide can read and add entries. It can neither change an entry nor drop the trigger."""
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
            log.add(**ACTION, started=log.start(**ACTION), outcome="done: 202")
            assert [entry.outcome for entry in log.newest(10)] == ["done: 202"]
        with engine.connect() as connection:
            for statement in (*CHANGES, "ALTER TABLE access_log DISABLE TRIGGER ALL", "DROP TABLE access_log"):
                with pytest.raises(DBAPIError):
                    connection.execute(text(statement))
            assert connection.execute(text("SELECT count(*) FROM access_log")).scalar() == 1
    finally:
        engine.dispose()
        with world.store.transaction() as connection:
            connection.execute(text("DROP OWNED BY slipway_service"))
            connection.execute(text("DROP ROLE slipway_service"))


def test_an_action_is_logged_even_if_the_service_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the service is killed after its response, the log later contains one entry with an unknown outcome."""
    browser = world.signed_in("ada", "operator")
    monkeypatch.setattr(world.access, "write_later", lambda writing: writing.close())  # as if the process ended here
    assert browser.post(f"/runs/{RUN}/cancel", json={}).status_code == 422
    monkeypatch.undo()
    assert len(world.log()) == 1  # the sign-in; the action may still be answered
    with world.store.transaction() as connection:
        connection.execute(text("UPDATE access_begun SET at = at - interval '6 minutes'"))
    for _ in range(2):
        assert world.log()[1:] == [
            ("ada", "cancel run", f"/runs/{RUN}/cancel", "unknown: the request was never answered")
        ]
    newest = world.access.log.newest(1)[0]
    assert (newest.how, newest.address) == ("session", "192.0.2.1")
    assert timedelta(minutes=5) < utc_now() - newest.at < timedelta(hours=1)  # the start of the action


def test_answered_requests_leave_no_start_record(world: World) -> None:
    """After the response, the start record of a successful, refused or failed action is deleted."""
    browser = world.signed_in("ada", "operator")
    for path in (f"/runs/{RUN}/cancel", f"/runs/{RUN}/approve", "/runs/no-run/cancel", f"/runs/{RUN}/pause"):
        browser.post(path, json={"why": "so"})
    assert len(world.log()) == 5
    with world.store.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM access_begun")).scalar() == 0


def test_the_response_waits_for_the_start_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the start record cannot be written, the response waits for the entry itself."""
    browser = world.signed_in("ada", "operator")
    order: list[str] = []

    def start_slowly(**fields: str) -> str:
        time.sleep(0.3)  # not for synchronisation: a response that does not wait for the log would come first
        order.append("started")
        return AccessLog.start(world.access.log, **fields)

    monkeypatch.setattr(world.access.log, "start", start_slowly)
    browser.post(f"/runs/{RUN}/cancel", json={})
    assert [*order, "answered"] == ["started", "answered"]

    def fail(**_: str) -> str:
        raise Unavailable("The store does not answer.", expected="A store that answers.")

    monkeypatch.setattr(world.access.log, "start", fail)
    monkeypatch.setattr(world.access, "write_later", lambda _: pytest.fail("the entry could be lost"))
    browser.post(f"/runs/{RUN}/cancel", json={})
    assert [entry[3] for entry in world.log()[1:]] == ["failed: 422"] * 2


def test_actions_and_refused_reads_are_logged(world: World) -> None:
    """An entry says who, how, from which address, on what and with which outcome. Successful reads are not logged."""
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


def test_admins_page_through_the_log_as_json(world: World) -> None:
    """Newest entries come first. Only admins of all services can read the log."""
    for n in range(5):
        world.access.log.add(who=f"p{n}", how="", address="", what="", on="", outcome="")
    admin = world.machine(world.token("root", "admin"))
    first_page = admin.get("/access/log", params={"limit": 3}).json()
    last_page = admin.get("/access/log", params={"limit": 3, "cursor": first_page["next"]}).json()
    assert [entry["who"] for entry in first_page["entries"] + last_page["entries"]] == ["p4", "p3", "p2", "p1", "p0"]
    assert last_page["next"] is None
    assert admin.get("/access/log", params={"cursor": "x"}).status_code == 422
    assert world.machine(world.token("some", "admin", ("shop",))).get("/access/log").status_code == 403


def test_a_log_entry_is_one_escaped_line_of_bounded_length(world: World) -> None:
    """Text from a request adds neither HTML nor a second line to the log."""
    browser = world.signed_in("ada", "admin")
    evil = "/runs/<script>alert(1)</script>%0d%0aX: y/" + "x" * 2_000
    browser.post(evil, json={})
    page = browser.get("/pages/access").text
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;??X: y" in page
    assert len(world.access.log.newest(1)[0].on) == 300


def act(browser: Any, path: str, **form: Any) -> Any:
    """Send a form of the access page."""
    return browser.post(f"/pages/access/{path}", data={"csrf": csrf(browser), **form})


def secret_on(page: str) -> str:
    """Return the secret that a page shows once."""
    return page.partition('<section class="failure">')[2].partition("<code>")[2].partition("</code>")[0]


def test_an_admin_invites_a_person_with_a_one_time_link(world: World) -> None:
    """The link is shown once. The log contains the name of the account, but not the link."""
    admin = world.signed_in("ada", "admin")
    response = act(admin, "people", name="Grace", role="operator", services=["shop", "bakery"])
    link = secret_on(response.text)
    assert response.status_code == 200 and link.startswith("http://127.0.0.1/pages/link/")
    assert response.headers["cache-control"] == "no-store"
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
    )  # a form without a service never means all services
    assert [account.name for account in world.access.accounts.all()] == ["ada", "grace"]


def test_admins_change_other_accounts_but_not_their_own(world: World) -> None:
    """Change the role, create a link, disable and enable. An admin always remains."""
    admin, grace = world.signed_in("ada", "admin"), world.signed_in("grace", "operator")
    assert act(admin, "people/grace", do="role", role="viewer", services="shop").status_code == 303
    assert world.access.accounts.find("grace").grant == Grant(role="viewer", services=("shop",))
    assert grace.get("/runs").status_code == 401
    assert act(admin, "people/grace", do="disable").status_code == 303
    assert act(admin, "people/grace", do="link").status_code == 422
    assert act(admin, "people/grace", do="enable").status_code == 303
    assert "/pages/link/" in secret_on(act(admin, "people/grace", do="link").text)
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


def test_an_admin_creates_and_revokes_a_token_on_the_page(world: World) -> None:
    """The token is shown once, works, and is refused after it is revoked."""
    admin = world.signed_in("ada", "admin")
    key = secret_on(act(admin, "tokens", name="robot", role="operator", services="shop", days=30).text)
    assert key.startswith("slipway_") and key not in admin.get("/pages/access").text
    machine = world.machine(key)
    assert machine.get("/runs").status_code == 200
    assert act(admin, "tokens", name="long", role="operator", services="*", days=400).status_code == 422
    assert act(admin, "tokens/robot/revoke").status_code == 303
    assert act(admin, "tokens/robot/revoke").status_code == 422
    assert machine.get("/runs").status_code == 401
    log = world.log()
    assert ("ada", "make token", "/pages/access/tokens → robot: operator of shop, 30 days", "done: 200") in log
    assert ("ada", "revoke token", "/pages/access/tokens/robot/revoke", "done: 303") in log
    assert key not in str(log)


class FakePrefect:
    """The part of Prefect's API that is needed to start a run."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    async def jobs(self) -> list[dict[str, Any]]:
        parameter_names = {"purge-routes": "service", "rehearse-change": "change", "tidy": "days"}
        return [
            {"name": name, "id": name, "parameter_openapi_schema": {"properties": {parameter: {}}}}
            for name, parameter in parameter_names.items()
        ]

    async def runs(self, **_: Any) -> list[dict[str, Any]]:
        return []

    async def create_run(self, deployment_id: str, *, parameters: Any, asked_by: str, **_: Any) -> dict[str, Any]:
        self.created.append({"id": str(RUN), "name": deployment_id, "parameters": parameters, "asked_by": asked_by})
        return self.created[-1]


@pytest.mark.parametrize(
    ("role", "services", "job", "parameters", "may"),
    [
        ("operator", ("shop",), "purge-routes", {"service": "shop"}, True),
        ("operator", ("shop",), "purge-routes", {"service": "bakery"}, False),
        ("operator", ("shop",), "rehearse-change", {"change": "faster"}, True),
        ("operator", ("shop",), "rehearse-change", {"change": "bread"}, False),
        ("operator", ("shop",), "tidy", {"days": 1}, False),  # the service is unknown
        ("operator", None, "tidy", {"days": 1}, True),
        ("viewer", None, "purge-routes", {"service": "shop"}, False),
    ],
)
def test_a_start_needs_the_right_for_the_service_of_its_parameters(
    world: World, role: Any, services: Any, job: str, parameters: dict[str, Any], may: bool
) -> None:
    """Every entry point uses `Jobs.start`, which checks the right to operate and saves the requester."""
    import asyncio

    prefect = FakePrefect()
    jobs = Jobs(prefect, world.app.state.container.settings, DisabledJobs(world.store))  # type: ignore[arg-type]
    token = CALLER.set(Caller("ada", "session", (Grant(role=role, services=services),)))
    try:
        if may:
            asyncio.run(jobs.start(job, parameters, None))
            assert prefect.created[0]["asked_by"] == "ada"
        else:
            with pytest.raises(Forbidden, match="ada may not operate"):
                asyncio.run(jobs.start(job, parameters, None))
        assert len(prefect.created) == may
    finally:
        CALLER.reset(token)


def test_a_job_shows_only_schedules_of_readable_services(world: World) -> None:
    """All callers see the same jobs. A caller with rights for one service sees only the schedules of that service."""
    entries = [
        {"schedule": {"cron": "1 * * * *"}, "active": True, "parameters": {"service": service}}
        for service in ("shop", "bakery")
    ]
    job = {"name": "measure-service", "parameter_openapi_schema": {}, "schedules": entries}

    def scheduled_services(services: Any) -> list[str]:
        token = CALLER.set(Caller("ada", "session", (Grant(role="viewer", services=services),)))
        try:
            return [entry["parameters"]["service"] for entry in describe(job)["schedules"]]
        finally:
            CALLER.reset(token)

    assert (scheduled_services(None), scheduled_services(("shop",))) == (["shop", "bakery"], ["shop"])


def test_a_start_without_a_caller_is_refused(world: World) -> None:
    """An endpoint that the guard does not protect cannot start a run."""
    import asyncio

    prefect = FakePrefect()
    jobs = Jobs(prefect, world.app.state.container.settings, DisabledJobs(world.store))  # type: ignore[arg-type]
    with pytest.raises(Forbidden, match="A caller without sign-in may not operate shop"):
        asyncio.run(jobs.start("purge-routes", {"service": "shop"}, None))
    assert prefect.created == []


def test_the_requester_of_a_run_cannot_approve_it(world: World) -> None:
    """A session and a token of the requester are refused. Another person can approve."""
    ada, grace = world.signed_in("ada", "admin"), world.signed_in("grace", "approver")
    her_token = world.machine(world.token("hers", "approver", account="ada"))
    world.app.state.container.asked_by[RUN] = "ada"
    path, body = f"/runs/{RUN}/approve", {}
    for client in (ada, her_token):
        refused = client.post(path, json=body)
        assert refused.status_code == 403
        assert refused.json()["failed"] == f"ada requested run {RUN} and cannot approve it."
        assert (
            client.post(path.upper().replace("/RUNS", "/runs").replace("APPROVE", "approve"), json=body).status_code
            == 403
        )
        assert client.post(f"/runs/{RUN}/reject", json=body).status_code == 422  # requesters can reject their own runs
    assert grace.post(path, json=body).status_code == 422
    assert grace.post("/runs/nope/approve", json=body).status_code == 404
