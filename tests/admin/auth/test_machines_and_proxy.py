"""Tokens of machines, and people whom a proxy signs in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import make_url

from slipway.accounts.grants import Grant
from slipway.admin.auth.lookup import Access
from slipway.core.errors import InvalidInput
from slipway.core.settings import Settings
from slipway.runs.store import Store
from tests.admin.auth.conftest import OTHERS_RUN, RUN, World

PROXY = "10.0.0.5"


def test_a_token_opens_what_its_role_opens(world: World) -> None:
    """For its own service; of others it sees nothing, neither in lists."""
    machine = world.machine(world.token("robot", "operator", ("shop",)))
    assert [run["service"] for run in machine.get("/runs").json()["runs"]] == ["shop"]
    assert (
        machine.post(f"/runs/{OTHERS_RUN}/cancel", json={"why": "no"}).json()["failed"]
        == f"There is no run {OTHERS_RUN}."
    )
    assert machine.get("/services/bakery/history").status_code == 404
    assert machine.post(f"/runs/{RUN}/approve", json={"why": "yes"}).status_code == 403
    refused = machine.get("/access/log")
    assert refused.status_code == 403 and refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["failed"] == "token robot may not administer all services."


def test_a_token_ends(world: World) -> None:
    """By its time, by being revoked, and when its account is disabled or loses rights; each says only: not good."""
    world.person("ada", "admin")
    keys = [world.token("expires"), world.token("revoked"), world.token("disabled", account="ada")]
    machines = [world.machine(key) for key in keys]
    assert [machine.get("/runs").status_code for machine in machines] == [200] * 3
    world.access.tokens.revoke("revoked")
    world.access.accounts.disable("ada")
    world.access.forget()
    assert [machine.get("/runs").status_code for machine in machines] == [200, 401, 401]
    world.access.accounts.enable("ada")
    world.clock.forward(days=1)
    world.access.forget()
    answers = [machine.get("/runs") for machine in machines]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert {answer.json()["failed"] for answer in answers} == {"The token is not good (any more)."}
    assert answers[0].headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("shown", ["Bearer", "Bearer ", "Bearer made-up", "Basic YTpi", "", "bearer ä"])
def test_what_is_no_token(world: World, shown: str) -> None:
    """It is refused, also beside a good session: nobody is taken for somebody else."""
    browser = world.signed_in("ada")
    assert browser.get("/runs", headers={"Authorization": shown.encode()}).status_code == 401  # type: ignore[dict-item]


def test_taking_rights_away_ends_sessions_and_tokens(world: World) -> None:
    """Whoever gets less signs in anew; whoever gets more goes on."""
    browser = world.signed_in("ada", "operator")
    world.token("hers", "operator", account="ada")
    world.access.accounts.change("ada", Grant(role="admin"))
    world.access.forget()
    assert browser.get("/access/log").status_code == 200
    world.access.accounts.change("ada", Grant(role="admin", services=("shop",)))
    world.access.forget()
    assert browser.get("/runs").status_code == 401
    assert world.access.tokens.all()[0].revoked_at is not None


def test_rights_end_at_once_for_what_acts(world: World) -> None:
    """A read may be answered for a moment to a token that another process has revoked; an action never."""
    machine = world.machine(world.token("robot", "operator"))
    assert machine.get("/runs").status_code == 200
    Access(world.store, Settings()).tokens.revoke("robot")  # as another process does
    assert machine.post(f"/runs/{RUN}/cancel", json={}).status_code == 401


def test_without_the_store_nobody_gets_in(world: World) -> None:
    """Who asks cannot be known then: that is said, with when to come back, and nothing is done. /health asks nobody."""
    machine, browser = world.machine(world.token("robot", "admin")), world.signed_in("ada", "admin")
    away = Store(make_url(world.url).set(port=9).render_as_string(hide_password=False))
    world.app.state.access = Access(away, Settings())
    for answer in (machine.get("/runs"), machine.post(f"/runs/{RUN}/cancel", json={"why": "no"}), browser.get("/runs")):
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert answer.json()["retry_is_safe"] is True
    assert browser.get("/").status_code == 503
    assert machine.get("/health").json() == {"ok": True}


def test_names_and_times_of_tokens(world: World) -> None:
    """A name in use is not given twice; one that was revoked may be; none lasts longer than a year or has HTML in it."""
    world.token("robot")
    grant = Grant(role="viewer")
    with pytest.raises(InvalidInput, match="There is a token 'robot' already"):
        world.token("robot")
    world.access.tokens.revoke("robot")
    world.token("robot")
    for name in ("<b>x</b>", "a\r\nb", "UPPER", "x", ""):
        with pytest.raises(InvalidInput, match="cannot be a name"):
            world.access.tokens.make(name, grant, timedelta(days=1), account=None)
    with pytest.raises(InvalidInput, match="at most 366"):
        world.access.tokens.make("long", grant, timedelta(days=367), account=None)


def behind(world: World, **settings: str) -> World:
    """The same app behind a proxy."""
    world.app.state.access = Access(world.store, Settings(trusted_proxy=PROXY, **settings), world.clock)
    return replace(world, access=world.app.state.access)


def test_whom_the_proxy_names(world: World) -> None:
    """Somebody with an account is signed in, with its role; one without, or a disabled one, is nobody here."""
    world.person("ada@example.com", "operator")
    world.person("gone@example.com", "admin")
    world.access.accounts.disable("gone@example.com")
    proxy = behind(world).browser(PROXY)
    assert proxy.get("/runs", headers={"X-Forwarded-Email": "Ada@example.com"}).status_code == 200
    assert proxy.get("/access/log", headers={"X-Forwarded-Email": "ada@example.com"}).status_code == 403
    page = proxy.get("/pages/runs", headers={"X-Forwarded-Email": "ada@example.com"}).text
    assert "<span>ada@example.com</span>" in page and "Sign out" not in page  # the way out is the proxy's
    for nobody in ("gone@example.com", "new@example.com"):
        assert proxy.get("/runs", headers={"X-Forwarded-Email": nobody}).status_code == 401
    assert proxy.get("/runs").status_code == 401


def test_the_header_from_a_stranger_is_refused(world: World) -> None:
    """Not ignored: somebody tries. Without a proxy in the settings the header means nothing."""
    world.person("ada", "admin")
    stranger = {"X-Forwarded-Email": "ada"}
    assert world.browser(PROXY).get("/runs", headers=stranger).status_code == 401
    proxied = behind(world)
    refused = proxied.browser("10.0.0.6").get("/runs", headers=stranger)
    assert refused.status_code == 403 and "not the proxy's" in refused.json()["failed"]
    forwarded = stranger | {"X-Forwarded-For": PROXY}
    assert proxied.browser("10.0.0.6").get("/runs", headers=forwarded).status_code == 403
    twice = [("X-Forwarded-Email", "eve"), ("X-Forwarded-Email", "ada")]
    assert proxied.browser(PROXY).get("/runs", headers=twice).status_code == 403
    for name in ("ada\tx", "<b>", "ada, eve"):
        assert proxied.browser(PROXY).get("/runs", headers={"X-Forwarded-Email": name}).status_code == 403


def test_groups_of_the_proxy(world: World) -> None:
    """A group is a role, for all services or some; several add up; an account that is disabled stays out."""
    proxied = behind(world, proxy_groups="X-Forwarded-Groups", proxy_roles="sre=admin, shop=operator:shop, all=viewer")

    def ask(groups: str, path: str = "/runs", name: str = "grace") -> int:
        headers = {"X-Forwarded-Email": name, "X-Forwarded-Groups": groups}
        return proxied.browser(PROXY).get(path, headers=headers).status_code

    assert (ask("sre", "/access/log"), ask("shop,all", "/access/log")) == (200, 403)
    assert (ask("shop", "/services/bakery/history"), ask("others"), ask("")) == (404, 401, 401)
    headers = {"X-Forwarded-Email": "grace", "X-Forwarded-Groups": "shop,all"}
    act = proxied.browser(PROXY, **headers)
    assert act.post(f"/runs/{RUN}/cancel", json={}).status_code == 422  # it may: the door itself says no
    assert act.post(f"/runs/{OTHERS_RUN}/cancel", json={}).status_code == 403
    world.person("grace")
    world.access.accounts.disable("grace")
    proxied.access.forget()
    assert ask("sre") == 401


def test_a_proxy_is_no_way_around_forgery(world: World) -> None:
    """The proxy's cookie is sent by browsers alone: what acts has to come from our own page."""
    world.person("ada", "operator")
    proxy = behind(world).browser(PROXY, **{"X-Forwarded-Email": "ada"})
    evil = {"Origin": "https://evil.example"}
    assert proxy.post(f"/runs/{RUN}/cancel", json={}, headers=evil).status_code == 403
    del proxy.headers["Origin"]
    assert proxy.post(f"/runs/{RUN}/cancel", json={}).status_code == 403


def test_from_where_it_comes_and_whether_by_tls(world: World) -> None:
    """Only the proxy is believed about both: a stranger can neither escape a lock nor choose a cookie's flags."""
    proxied = behind(world)
    told = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1", "X-Forwarded-Proto": "https"}
    form = {"name": "ada", "password": "wrong"}
    for address in (PROXY, "192.0.2.9"):
        proxied.browser(address).post("/pages/sign-in", data=form, headers=told)
    assert [entry.address for entry in world.access.log.newest(2)] == ["192.0.2.9", "198.51.100.1"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trusted_proxy": "proxy.example"}, "SLIPWAY_TRUSTED_PROXY names no address"),
        ({"proxy_roles": "sre=king"}, "SLIPWAY_PROXY_ROLES has no role"),
    ],
)
def test_settings_that_are_wrong(world: World, settings: dict[str, str], words: str) -> None:
    """The service does not start with a proxy that it cannot check."""
    with pytest.raises(InvalidInput, match=words):
        Access(world.store, Settings(**settings))  # type: ignore[arg-type]
