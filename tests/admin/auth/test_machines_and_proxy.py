"""API tokens, and users that a proxy signs in."""

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


def test_a_token_has_the_rights_of_its_role_for_its_service(world: World) -> None:
    """Other services are hidden, also in lists."""
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


def test_expired_revoked_and_disabled_tokens_are_refused(world: World) -> None:
    """The error message is the same for every reason."""
    world.person("ada", "admin")
    keys = [world.token("expires"), world.token("revoked"), world.token("disabled", account="ada")]
    machines = [world.machine(key) for key in keys]
    assert [machine.get("/runs").status_code for machine in machines] == [200] * 3
    world.access.tokens.revoke("revoked")
    world.access.accounts.disable("ada")
    world.access.clear_cache()
    assert [machine.get("/runs").status_code for machine in machines] == [200, 401, 401]
    world.access.accounts.enable("ada")
    world.clock.advance(days=1)
    world.access.clear_cache()
    responses = [machine.get("/runs") for machine in machines]
    assert [response.status_code for response in responses] == [401] * 3
    assert {response.json()["failed"] for response in responses} == {"The token is not valid."}
    assert responses[0].headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "Bearer made-up", "Basic YTpi", "", "bearer ä"])
def test_an_invalid_authorization_header_is_refused(world: World, authorization: str) -> None:
    """It is refused even with a valid session, so that the caller is never ambiguous."""
    browser = world.signed_in("ada")
    assert browser.get("/runs", headers={"Authorization": authorization.encode()}).status_code == 401  # type: ignore[dict-item]


def test_removing_rights_ends_sessions_and_revokes_tokens(world: World) -> None:
    """Sessions continue after an account gains rights."""
    browser = world.signed_in("ada", "operator")
    world.token("hers", "operator", account="ada")
    world.access.accounts.change("ada", Grant(role="admin"))
    world.access.clear_cache()
    assert browser.get("/access/log").status_code == 200
    world.access.accounts.change("ada", Grant(role="admin", services=("shop",)))
    world.access.clear_cache()
    assert browser.get("/runs").status_code == 401
    assert world.access.tokens.all()[0].revoked_at is not None


def test_actions_with_a_revoked_token_are_refused_at_once(world: World) -> None:
    """Only reads may use a cached caller after another process has revoked the token."""
    machine = world.machine(world.token("robot", "operator"))
    assert machine.get("/runs").status_code == 200
    Access(world.store, Settings()).tokens.revoke("robot")  # as another process does
    assert machine.post(f"/runs/{RUN}/cancel", json={}).status_code == 401


def test_requests_are_answered_503_while_the_store_is_down(world: World) -> None:
    """Without the store no caller can be authenticated. The response has Retry-After. /health needs no caller."""
    machine, browser = world.machine(world.token("robot", "admin")), world.signed_in("ada", "admin")
    unreachable = Store(make_url(world.url).set(port=9).render_as_string(hide_password=False))
    world.app.state.access = Access(unreachable, Settings())
    for response in (
        machine.get("/runs"),
        machine.post(f"/runs/{RUN}/cancel", json={"why": "no"}),
        browser.get("/runs"),
    ):
        assert response.status_code == 503 and response.headers["retry-after"] == "5"
        assert response.json()["retry_is_safe"] is True
    assert browser.get("/").status_code == 503
    assert machine.get("/health").json() == {"ok": True}


def test_the_name_and_lifetime_of_a_new_token_are_checked(world: World) -> None:
    """A name in use is refused; the name of a revoked token is accepted. Names have no HTML, lifetimes are at most 366 days."""
    world.token("robot")
    grant = Grant(role="viewer")
    with pytest.raises(InvalidInput, match="The token 'robot' already exists"):
        world.token("robot")
    world.access.tokens.revoke("robot")
    world.token("robot")
    for name in ("<b>x</b>", "a\r\nb", "UPPER", "x", ""):
        with pytest.raises(InvalidInput, match="is not a valid name"):
            world.access.tokens.make(name, grant, timedelta(days=1), account=None)
    with pytest.raises(InvalidInput, match="at most 366"):
        world.access.tokens.make("long", grant, timedelta(days=367), account=None)


def behind(world: World, **settings: str) -> World:
    """Return the same app behind a proxy."""
    world.app.state.access = Access(world.store, Settings(trusted_proxy=PROXY, **settings), world.clock)
    return replace(world, access=world.app.state.access)


def test_a_proxy_user_has_the_role_of_their_account(world: World) -> None:
    """A user without an account, or with a disabled account, is refused."""
    world.person("ada@example.com", "operator")
    world.person("gone@example.com", "admin")
    world.access.accounts.disable("gone@example.com")
    proxy = behind(world).browser(PROXY)
    assert proxy.get("/runs", headers={"X-Forwarded-Email": "Ada@example.com"}).status_code == 200
    assert proxy.get("/access/log", headers={"X-Forwarded-Email": "ada@example.com"}).status_code == 403
    page = proxy.get("/pages/runs", headers={"X-Forwarded-Email": "ada@example.com"}).text
    assert "<span>ada@example.com</span>" in page and "Sign out" not in page  # only the proxy can sign the user out
    for name in ("gone@example.com", "new@example.com"):
        assert proxy.get("/runs", headers={"X-Forwarded-Email": name}).status_code == 401
    assert proxy.get("/runs").status_code == 401


def test_the_proxy_header_from_another_address_is_refused(world: World) -> None:
    """The header is not ignored, because it is an attack. Without a proxy in the settings the header has no meaning."""
    world.person("ada", "admin")
    header = {"X-Forwarded-Email": "ada"}
    assert world.browser(PROXY).get("/runs", headers=header).status_code == 401
    proxied = behind(world)
    refused = proxied.browser("10.0.0.6").get("/runs", headers=header)
    assert refused.status_code == 403 and "not the proxy's" in refused.json()["failed"]
    forwarded = header | {"X-Forwarded-For": PROXY}
    assert proxied.browser("10.0.0.6").get("/runs", headers=forwarded).status_code == 403
    twice = [("X-Forwarded-Email", "eve"), ("X-Forwarded-Email", "ada")]
    assert proxied.browser(PROXY).get("/runs", headers=twice).status_code == 403
    for name in ("ada\tx", "<b>", "ada, eve"):
        assert proxied.browser(PROXY).get("/runs", headers={"X-Forwarded-Email": name}).status_code == 403


def test_proxy_groups_grant_roles(world: World) -> None:
    """The roles of all groups add up. A user with a disabled account is refused."""
    proxied = behind(world, proxy_groups="X-Forwarded-Groups", proxy_roles="sre=admin, shop=operator:shop, all=viewer")

    def status(groups: str, path: str = "/runs", name: str = "grace") -> int:
        headers = {"X-Forwarded-Email": name, "X-Forwarded-Groups": groups}
        return proxied.browser(PROXY).get(path, headers=headers).status_code

    assert (status("sre", "/access/log"), status("shop,all", "/access/log")) == (200, 403)
    assert (status("shop", "/services/bakery/history"), status("others"), status("")) == (404, 401, 401)
    headers = {"X-Forwarded-Email": "grace", "X-Forwarded-Groups": "shop,all"}
    grace = proxied.browser(PROXY, **headers)
    assert grace.post(f"/runs/{RUN}/cancel", json={}).status_code == 422  # allowed: the endpoint itself answers
    assert grace.post(f"/runs/{OTHERS_RUN}/cancel", json={}).status_code == 403
    world.person("grace")
    world.access.accounts.disable("grace")
    proxied.access.clear_cache()
    assert status("sre") == 401


def test_requests_through_the_proxy_are_protected_against_csrf(world: World) -> None:
    """Browsers send the proxy's cookie automatically, so actions must come from our own pages."""
    world.person("ada", "operator")
    proxy = behind(world).browser(PROXY, **{"X-Forwarded-Email": "ada"})
    evil = {"Origin": "https://evil.example"}
    assert proxy.post(f"/runs/{RUN}/cancel", json={}, headers=evil).status_code == 403
    del proxy.headers["Origin"]
    assert proxy.post(f"/runs/{RUN}/cancel", json={}).status_code == 403


def test_forwarded_headers_are_accepted_only_from_the_proxy(world: World) -> None:
    """Another client can neither evade a lockout nor choose the flags of a cookie."""
    proxied = behind(world)
    headers = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1", "X-Forwarded-Proto": "https"}
    form = {"name": "ada", "password": "wrong"}
    for address in (PROXY, "192.0.2.9"):
        proxied.browser(address).post("/pages/sign-in", data=form, headers=headers)
    assert [entry.address for entry in world.access.log.newest(2)] == ["192.0.2.9", "198.51.100.1"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trusted_proxy": "proxy.example"}, "SLIPWAY_TRUSTED_PROXY contains an invalid address"),
        ({"proxy_roles": "sre=king"}, "SLIPWAY_PROXY_ROLES contains an invalid entry"),
    ],
)
def test_invalid_proxy_settings_are_refused_at_start(world: World, settings: dict[str, str], message: str) -> None:
    """The service does not start with proxy settings that it cannot read."""
    with pytest.raises(InvalidInput, match=message):
        Access(world.store, Settings(**settings))  # type: ignore[arg-type]
