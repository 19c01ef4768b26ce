"""Signing in, staying in, and getting out: sessions, lockout, one-time links."""

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
    """Send the form."""
    return browser.post("/pages/sign-in", data={"name": name, "password": password, "next": next})


def test_a_stranger_is_led_to_the_form_and_back(world: World) -> None:
    """Whoever opens a page signs in first and then is there; a program gets a 401 that says how."""
    world.person("ada", "admin")
    browser = world.browser()
    led = browser.get("/pages/access?cursor=7")
    assert (led.status_code, led.headers["location"]) == (303, "/pages/sign-in?next=/pages/access%3Fcursor%3D7")
    form = browser.get(led.headers["location"])
    assert 'name="next" value="/pages/access?cursor=7"' in form.text and 'autocomplete="current-password"' in form.text
    back = sign_in(browser, " Ada ", next="/pages/access?cursor=7")
    assert (back.status_code, back.headers["location"]) == (303, "/pages/access?cursor=7")
    page = browser.get("/pages/access").text
    assert "<span>ada</span>" in page and "Sign out" in page
    refused = world.browser().get("/runs")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json()["failed"] == "It is not known who asks."


def test_a_part_of_a_page_leads_the_whole_page_to_the_form(world: World) -> None:
    """When a session has ended, the request of a live page does not draw the form into the middle of it."""
    answer = world.browser().get("/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/pages/sign-in")


def test_the_cookie(world: World) -> None:
    """No script reads it, no other site sends it; with TLS it has a name that nobody else can set."""
    world.person("ada")
    written = sign_in(world.browser(), "ada").headers["set-cookie"]
    assert written.startswith(f"{COOKIE}=") and "HttpOnly" in written and "SameSite=lax" in written
    assert "Path=/;" in written and "Max-Age=43200" in written and "Secure" not in written
    world.base = "https://127.0.0.1"
    browser = world.browser()
    written = sign_in(browser, "ada").headers["set-cookie"]
    assert written.startswith(f"__Host-{COOKIE}=") and "Secure" in written and "Path=/;" in written
    assert browser.get("/runs").status_code == 200


def test_only_digests_are_kept(world: World) -> None:
    """Whoever reads the store finds neither a key of a session, nor of a token or link, nor a password."""
    browser = world.signed_in("ada", "admin")
    secrets = [browser.cookies[COOKIE], world.token("robot"), world.access.links.make("ada"), PASSWORD]
    with world.store.transaction() as connection:
        tables = ("account", "access_session", "access_token", "access_link", "sign_in_try", "access_log")
        kept = "".join(str(connection.execute(text(f"SELECT * FROM {table}")).all()) for table in tables)
    assert "argon2id" in kept and not any(secret in kept for secret in secrets)


def test_signing_in_makes_a_new_session(world: World) -> None:
    """A key that somebody put into the browser before is worth nothing afterwards (session fixation)."""
    world.person("ada")
    planted = world.access.sessions.begin("ada")
    browser = world.browser()
    browser.cookies.set(COOKIE, "planted-by-another", domain="127.0.0.1")
    sign_in(browser, "ada")
    assert COOKIE in browser.cookies
    keys = {cookie.value for cookie in browser.cookies.jar}
    assert planted not in keys and keys - {"planted-by-another"}
    stranger = world.browser()
    stranger.cookies.set(COOKIE, "planted-by-another", domain="127.0.0.1")
    assert stranger.get("/runs").status_code == 401


def test_a_session_ends(world: World) -> None:
    """When it is idle for two hours, after twelve whatever happens, and at once by signing out."""
    browser = world.signed_in("ada")
    world.clock.forward(minutes=119)
    assert browser.get("/runs").status_code == 200
    for _ in range(5):
        world.clock.forward(minutes=119)
        world.access.forget()
        last = browser.get("/runs").status_code
    assert last == 200
    world.clock.forward(minutes=10)  # twelve hours and a little
    world.access.forget()
    assert browser.get("/runs").status_code == 401
    sign_in(browser, "ada")
    world.clock.forward(minutes=121)
    world.access.forget()
    assert browser.get("/runs").status_code == 401

    sign_in(browser, "ada")
    key = browser.cookies[COOKIE]
    gone = browser.post("/pages/sign-out", data={"csrf": csrf(browser)})
    assert (gone.status_code, gone.headers["location"]) == (303, "/pages/sign-in")
    assert 'slipway_session=""' in gone.headers["set-cookie"] and "Max-Age=0" in gone.headers["set-cookie"]
    again = world.browser()
    again.cookies.set(COOKIE, key, domain="127.0.0.1")
    assert again.get("/runs").status_code == 401


def test_wrong_is_wrong_in_the_same_words(world: World) -> None:
    """Nobody learns from the answer which accounts there are, disabled ones and those without a password included."""
    world.person("ada")
    world.person("gone")
    world.access.accounts.disable("gone")
    world.access.accounts.add("invited", Grant(role="viewer"), by="a test")
    answers = [sign_in(world.browser(), name, "not the password") for name in ("ada", "gone", "invited", "nobody")]
    answers.append(sign_in(world.browser(), "gone"))
    assert {answer.status_code for answer in answers} == {401}
    names = ("ada", "gone", "invited", "nobody", "gone")
    pages = {answer.text.replace(name, "NAME") for answer, name in zip(answers, names, strict=True)}
    assert len(pages) == 1 and "The name or the password is wrong." in pages.pop()


def test_every_try_costs_one_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody learns it from the time either: an account that is not there is compared with a password that nobody has."""
    from slipway.accounts import passwords

    world.person("ada")
    compared: list[str] = []
    verify = type(passwords._hasher).verify
    monkeypatch.setattr(
        type(passwords._hasher), "verify", lambda self, kept, given: compared.append(kept) or verify(self, kept, given)
    )
    for name in ("ada", "nobody"):
        sign_in(world.browser(), name, "not the password")
    assert len(compared) == 2 and len({kept.rpartition("$")[0].rpartition("$")[0] for kept in compared}) == 1


def test_the_account_is_locked_after_failures(world: World) -> None:
    """Five may fail; then also the right password waits, longer each time; a success begins anew."""
    world.person("ada")
    browser = world.browser()
    assert [sign_in(browser, "ada", "wrong").status_code for _ in range(5)] == [401] * 5
    locked = sign_in(browser, "ada")
    assert (locked.status_code, locked.headers["retry-after"]) == (429, "30")
    assert "There were too many tries that failed." in locked.text
    assert sign_in(world.browser("198.51.100.7"), "ada").status_code == 429  # from everywhere
    world.clock.forward(seconds=31)
    assert sign_in(browser, "ada", "wrong").status_code == 401
    assert sign_in(browser, "ada").headers["retry-after"] == "60"
    world.clock.forward(seconds=61)
    assert sign_in(browser, "ada").status_code == 303
    assert sign_in(browser, "ada", "wrong").status_code == 401
    assert ("ada", "sign in", "", "locked out for 30 s") in world.log()


def test_accounts_that_are_not_there_are_locked_alike(world: World) -> None:
    """Nobody learns from a lock which accounts there are."""
    answers = [sign_in(world.browser(f"198.51.100.{n}"), "nobody", "wrong").status_code for n in range(6)]
    assert answers == [401] * 5 + [429]


def test_an_address_is_locked_after_failures_of_many_accounts(world: World) -> None:
    """One password for many names is a way of guessing, too; of IPv6 a whole customer's network is one address."""
    world.person("ada")
    for n in range(20):
        assert sign_in(world.browser(f"2001:db8::{n:x}"), f"name{n}", "wrong").status_code == 401
    assert sign_in(world.browser("2001:db8::ffff"), "ada").status_code == 429
    assert sign_in(world.browser("2001:db8:0:1::1"), "ada").status_code == 303


def test_many_tries_at_once_count_as_many(world: World) -> None:
    """Whoever guesses side by side does not get more tries than one after the other."""
    world.person("ada")

    async def guess() -> list[int]:
        transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=world.base, headers={"Origin": world.base}
        ) as client:
            form = {"name": "ada", "password": "wrong"}
            answers = await asyncio.gather(*(client.post("/pages/sign-in", data=form) for _ in range(12)))
        return sorted(answer.status_code for answer in answers)

    got = asyncio.run(guess())
    assert got == [401] * 5 + [429] * 7, got


def test_hashing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More people than can wait are told to come again; those before them are served."""
    from slipway.core.errors import Unavailable

    monkeypatch.setattr(hashing, "AT_MOST", 3)

    async def ask() -> list[Any]:
        bounded = hashing.Hashing()
        return await asyncio.gather(*(bounded.run(lambda: "done") for _ in range(5)), return_exceptions=True)

    came = asyncio.run(ask())
    assert came[:3] == ["done"] * 3 and all(isinstance(one, Unavailable) for one in came[3:])


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
def test_the_way_back_is_our_own(world: World, next: str) -> None:
    """No link to our sign-in page leads anybody to another site, or writes a header."""
    world.person("ada")
    assert "evil" not in world.browser().get("/pages/sign-in", params={"next": next}).text
    answer = sign_in(world.browser(), "ada", next=next)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "a=b" not in str(answer.headers)


def test_what_people_type_is_shown_and_not_obeyed(world: World) -> None:
    """HTML in a name or in the way back stays text."""
    evil = "<script>alert(1)</script>"
    answer = sign_in(world.browser(), evil, next=f"/{evil}")
    assert evil not in answer.text and "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def test_a_one_time_link(world: World) -> None:
    """It shows for whom it is, takes a good password, signs in, and is good once; sessions under the old password end."""
    before = world.signed_in("ada")
    path = f"/pages/link/{world.access.links.make('ada')}"
    browser = world.browser()
    assert [browser.get(path).status_code for _ in range(2)] == [200, 200]  # a mail scanner does not use it up
    for password, again, words in (
        ("short", "short", "The password has 5 characters."),
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "too easy to guess"),
        ("ada is my own name", "ada is my own name", "too easy to guess"),
        ("a good new password", "another one", "The two passwords differ."),
    ):
        refused = browser.post(path, data={"password": password, "again": again})
        assert refused.status_code == 422 and words in refused.text and password not in refused.text
    new = "a good new password"
    assert browser.post(path, data={"password": new, "again": new}).headers["location"] == "/"
    assert browser.get("/runs").status_code == 200
    assert before.get("/runs").status_code == 401
    used = world.browser()
    assert used.get(path).status_code == 404
    assert used.post(path, data={"password": new, "again": new}).status_code == 404
    assert sign_in(used, "ada").status_code == 401 and sign_in(used, "ada", new).status_code == 303


def test_a_link_that_is_not_good(world: World) -> None:
    """It expires, a newer one replaces it, disabling the account ends it, and a guess finds none."""
    world.person("ada")
    first, second = world.access.links.make("ada"), world.access.links.make("ada")
    browser = world.browser()
    assert browser.get(f"/pages/link/{first}").status_code == 404
    assert browser.get(f"/pages/link/{second}").status_code == 200
    world.clock.forward(hours=24)
    assert browser.get(f"/pages/link/{second}").status_code == 404
    third = world.access.links.make("ada")
    world.access.accounts.disable("ada")
    assert browser.get(f"/pages/link/{third}").status_code == 404
    assert browser.get("/pages/link/guess").status_code == 404


def test_two_at_once_use_a_link_once(world: World) -> None:
    """Of two requests with one link, one sets the password."""
    world.person("ada")
    key = world.access.links.make("ada")
    assert [world.access.links.use(key), world.access.links.use(key)] == ["ada", None]


def test_nobody_can_sign_in_yet(world: World) -> None:
    """The page says how to begin instead of asking for a password that nobody has."""
    page = world.browser().get("/pages/sign-in").text
    assert "slipway access link NAME --role admin" in page and "<form" not in page
