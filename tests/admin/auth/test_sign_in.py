"""Sign-in, sessions, lockout, sign-out and one-time links."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from slipway.accounts.grants import Grant
from slipway.admin.auth import hashing
from tests.admin.auth.conftest import PASSWORD, World, csrf

COOKIE = "slipway_session"


def sign_in(browser: httpx.Client, name: str, password: str = PASSWORD, next: str = "/") -> httpx.Response:
    """Send the sign-in form."""
    return browser.post("/pages/sign-in", data={"name": name, "password": password, "next": next})


def test_a_visitor_is_redirected_to_the_sign_in_and_back(world: World) -> None:
    """After the sign-in the requested page opens. A program gets a 401 with the scheme Bearer."""
    world.person("ada", "admin")
    browser = world.browser()
    redirect = browser.get("/pages/access?cursor=7")
    assert (redirect.status_code, redirect.headers["location"]) == (
        303,
        "/pages/sign-in?next=/pages/access%3Fcursor%3D7",
    )
    form = browser.get(redirect.headers["location"])
    assert 'name="next" value="/pages/access?cursor=7"' in form.text and 'autocomplete="current-password"' in form.text
    response = sign_in(browser, " Ada ", next="/pages/access?cursor=7")
    assert (response.status_code, response.headers["location"]) == (303, "/pages/access?cursor=7")
    page = browser.get("/pages/access").text
    assert "<span>ada</span>" in page and "Sign out" in page
    refused = world.browser().get("/runs")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json()["failed"] == "The request is not authenticated."


def test_an_htmx_request_without_a_session_redirects_the_whole_page(world: World) -> None:
    """When a session has ended, the sign-in form does not appear inside a live page."""
    response = world.browser().get("/", headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["hx-redirect"]) == (401, "/pages/sign-in")


def test_the_session_cookie_has_safe_flags(world: World) -> None:
    """No script can read the cookie and no other site can send it. With TLS, no other host can set it."""
    world.person("ada")
    cookie = sign_in(world.browser(), "ada").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert "Path=/;" in cookie and "Max-Age=43200" in cookie and "Secure" not in cookie
    world.base = "https://127.0.0.1"
    browser = world.browser()
    cookie = sign_in(browser, "ada").headers["set-cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=") and "Secure" in cookie and "Path=/;" in cookie
    assert browser.get("/runs").status_code == 200


def test_the_store_contains_only_digests_of_secrets(world: World) -> None:
    """The store contains no password and no key of a session, token or link."""
    browser = world.signed_in("ada", "admin")
    secrets = [browser.cookies[COOKIE], world.token("robot"), world.access.links.make("ada"), PASSWORD]
    with world.store.transaction() as connection:
        tables = ("account", "access_session", "access_token", "access_link", "sign_in_try", "access_log")
        rows = "".join(str(connection.execute(text(f"SELECT * FROM {table}")).all()) for table in tables)
    assert "argon2id" in rows and not any(secret in rows for secret in secrets)


def test_a_sign_in_always_starts_a_new_session(world: World) -> None:
    """A key that an attacker put into the browser before the sign-in is not valid (session fixation)."""
    world.person("ada")
    planted = world.access.sessions.begin("ada")
    browser = world.browser()
    browser.cookies.set(COOKIE, "planted-by-another", domain="127.0.0.1")
    sign_in(browser, "ada")
    assert COOKIE in browser.cookies
    keys = {cookie.value for cookie in browser.cookies.jar}
    assert planted not in keys and keys - {"planted-by-another"}
    attacker = world.browser()
    attacker.cookies.set(COOKIE, "planted-by-another", domain="127.0.0.1")
    assert attacker.get("/runs").status_code == 401


def test_a_session_ends_when_idle_after_twelve_hours_and_on_sign_out(world: World) -> None:
    """The idle limit is two hours. A sign-out ends the session at once."""
    browser = world.signed_in("ada")
    world.clock.advance(minutes=119)
    assert browser.get("/runs").status_code == 200
    for _ in range(5):
        world.clock.advance(minutes=119)
        world.access.clear_cache()
        status = browser.get("/runs").status_code
    assert status == 200
    world.clock.advance(minutes=10)  # just over twelve hours
    world.access.clear_cache()
    assert browser.get("/runs").status_code == 401
    sign_in(browser, "ada")
    world.clock.advance(minutes=121)
    world.access.clear_cache()
    assert browser.get("/runs").status_code == 401

    sign_in(browser, "ada")
    key = browser.cookies[COOKIE]
    response = browser.post("/pages/sign-out", data={"csrf": csrf(browser)})
    assert (response.status_code, response.headers["location"]) == (303, "/pages/sign-in")
    assert 'slipway_session=""' in response.headers["set-cookie"] and "Max-Age=0" in response.headers["set-cookie"]
    other_browser = world.browser()
    other_browser.cookies.set(COOKIE, key, domain="127.0.0.1")
    assert other_browser.get("/runs").status_code == 401


def test_failed_sign_ins_do_not_reveal_which_accounts_exist(world: World) -> None:
    """The page is the same for wrong passwords, unknown names, and accounts that are disabled or have no password."""
    world.person("ada")
    world.person("gone")
    world.access.accounts.disable("gone")
    world.access.accounts.add("invited", Grant(role="viewer"), by="a test")
    responses = [sign_in(world.browser(), name, "not the password") for name in ("ada", "gone", "invited", "nobody")]
    responses.append(sign_in(world.browser(), "gone"))
    assert {response.status_code for response in responses} == {401}
    names = ("ada", "gone", "invited", "nobody", "gone")
    pages = {response.text.replace(name, "NAME") for response, name in zip(responses, names, strict=True)}
    assert len(pages) == 1 and "The name or the password is wrong." in pages.pop()


def test_every_sign_in_attempt_costs_one_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response time does not reveal which accounts exist: an unknown name is compared with a dummy hash."""
    from slipway.accounts import passwords

    world.person("ada")
    compared: list[str] = []
    verify = type(passwords._hasher).verify
    monkeypatch.setattr(
        type(passwords._hasher),
        "verify",
        lambda self, hashed, given: compared.append(hashed) or verify(self, hashed, given),
    )
    for name in ("ada", "nobody"):
        sign_in(world.browser(), name, "not the password")
    assert len(compared) == 2 and len({hashed.rpartition("$")[0].rpartition("$")[0] for hashed in compared}) == 1


def test_the_account_is_locked_after_failures(world: World) -> None:
    """After five failures the right password must wait, too, longer each time. A success resets the count."""
    world.person("ada")
    browser = world.browser()
    assert [sign_in(browser, "ada", "wrong").status_code for _ in range(5)] == [401] * 5
    locked = sign_in(browser, "ada")
    assert (locked.status_code, locked.headers["retry-after"]) == (429, "30")
    assert "There were too many failed sign-ins." in locked.text
    assert sign_in(world.browser("198.51.100.7"), "ada").status_code == 429  # from every address
    world.clock.advance(seconds=31)
    assert sign_in(browser, "ada", "wrong").status_code == 401
    assert sign_in(browser, "ada").headers["retry-after"] == "60"
    world.clock.advance(seconds=61)
    assert sign_in(browser, "ada").status_code == 303
    assert sign_in(browser, "ada", "wrong").status_code == 401
    assert ("ada", "sign in", "", "locked out for 30 s") in world.log()


def test_unknown_names_are_locked_like_accounts(world: World) -> None:
    """A lockout does not reveal which accounts exist."""
    statuses = [sign_in(world.browser(f"198.51.100.{n}"), "nobody", "wrong").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]


def test_an_address_is_locked_after_failures_of_many_accounts(world: World) -> None:
    """This limits guessing one password for many names. A /64 network of IPv6 counts as one address."""
    world.person("ada")
    for n in range(20):
        assert sign_in(world.browser(f"2001:db8::{n:x}"), f"name{n}", "wrong").status_code == 401
    assert sign_in(world.browser("2001:db8::ffff"), "ada").status_code == 429
    assert sign_in(world.browser("2001:db8:0:1::1"), "ada").status_code == 303


def test_concurrent_sign_in_attempts_are_all_counted(world: World) -> None:
    """Concurrent guesses get no more attempts than sequential guesses."""
    world.person("ada")

    async def guess() -> list[int]:
        transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=world.base, headers={"Origin": world.base}
        ) as client:
            form = {"name": "ada", "password": "wrong"}
            responses = await asyncio.gather(*(client.post("/pages/sign-in", data=form) for _ in range(12)))
        return sorted(response.status_code for response in responses)

    statuses = asyncio.run(guess())
    assert statuses == [401] * 5 + [429] * 7, statuses


def test_too_many_waiting_hashes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests above the limit get `Unavailable`; earlier requests are served."""
    from slipway.core.errors import Unavailable

    monkeypatch.setattr(hashing, "MAX_REQUESTS", 3)

    async def run_five() -> list[Any]:
        limited = hashing.Hashing()
        return await asyncio.gather(*(limited.run(lambda: "done") for _ in range(5)), return_exceptions=True)

    results = asyncio.run(run_five())
    assert results[:3] == ["done"] * 3 and all(isinstance(result, Unavailable) for result in results[3:])


@pytest.mark.parametrize(
    "next",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "evil",
        "/ok\r\nSet-Cookie: a=b",
        "/\t/evil.example",
        "/" + "x" * 600,
    ],
)
def test_the_redirect_after_a_sign_in_stays_on_this_service(world: World, next: str) -> None:
    """No link to the sign-in page can redirect to another site or inject a header."""
    world.person("ada")
    assert "evil" not in world.browser().get("/pages/sign-in", params={"next": next}).text
    response = sign_in(world.browser(), "ada", next=next)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert "a=b" not in str(response.headers)


def test_html_in_the_sign_in_form_is_escaped(world: World) -> None:
    """HTML in the name or in the redirect path is shown as text."""
    script = "<script>alert(1)</script>"
    response = sign_in(world.browser(), script, next=f"/{script}")
    assert script not in response.text and "&lt;script&gt;alert(1)&lt;/script&gt;" in response.text


def test_a_one_time_link_sets_a_password_once(world: World) -> None:
    """The link accepts only a strong password, signs in, and ends the sessions with the old password."""
    old_session = world.signed_in("ada")
    path = f"/pages/link/{world.access.links.make('ada')}"
    browser = world.browser()
    assert [browser.get(path).status_code for _ in range(2)] == [200, 200]  # a mail scanner does not use the link up
    for password, again, message in (
        ("short", "short", "The password has 5 characters."),
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "too easy to guess"),
        ("ada is my own name", "ada is my own name", "too easy to guess"),
        ("a good new password", "another one", "The two passwords differ."),
    ):
        refused = browser.post(path, data={"password": password, "again": again})
        assert refused.status_code == 422 and message in refused.text and password not in refused.text
    new = "a good new password"
    assert browser.post(path, data={"password": new, "again": new}).headers["location"] == "/"
    assert browser.get("/runs").status_code == 200
    assert old_session.get("/runs").status_code == 401
    other_browser = world.browser()
    assert other_browser.get(path).status_code == 404
    assert other_browser.post(path, data={"password": new, "again": new}).status_code == 404
    assert sign_in(other_browser, "ada").status_code == 401 and sign_in(other_browser, "ada", new).status_code == 303


def test_expired_replaced_and_disabled_links_are_refused(world: World) -> None:
    """A link expires after 24 hours. A newer link replaces it. Disabling the account deletes it."""
    world.person("ada")
    first, second = world.access.links.make("ada"), world.access.links.make("ada")
    browser = world.browser()
    assert browser.get(f"/pages/link/{first}").status_code == 404
    assert browser.get(f"/pages/link/{second}").status_code == 200
    world.clock.advance(hours=24)
    assert browser.get(f"/pages/link/{second}").status_code == 404
    third = world.access.links.make("ada")
    world.access.accounts.disable("ada")
    assert browser.get(f"/pages/link/{third}").status_code == 404
    assert browser.get("/pages/link/guess").status_code == 404


def test_a_link_is_used_once(world: World) -> None:
    """Of two requests with the same link, only the first one gets the account."""
    world.person("ada")
    key = world.access.links.make("ada")
    assert [world.access.links.use(key), world.access.links.use(key)] == ["ada", None]


def test_the_first_sign_in_page_says_how_to_create_an_account(world: World) -> None:
    """While no account has a password, the page shows the command instead of the form."""
    page = world.browser().get("/pages/sign-in").text
    assert "slipway access link NAME --role admin" in page and "<form" not in page
