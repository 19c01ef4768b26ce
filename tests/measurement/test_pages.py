"""Signing in by form with and without a token, by header and by cookie, for the pages and for the probe alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slipway.config.service import Identity, Probe, Service, SignIn
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.frozen import RouteAs
from slipway.measurement.pages import get, visitor
from slipway.measurement.probe import measure
from tests.sites import Answer, Request, Site

SECRET = 'right "secret"'
PAGE = '<form method=post><input name="user"><input type=hidden value="t&amp;k" name="csrf"></form>'


def identity(**way: Any) -> Identity:
    """A test user who signs in that way."""
    return Identity.model_validate(
        {"name": "alice", "sign_in": way, "marker": "Signed in as alice", "marker_route": "/account"}
    )


def shop(site: Site, who: Identity) -> Service:
    """The service with that user."""
    gentle = Probe().model_copy(update={"bursts": 2, "requests": 5, "seconds": 0.1, "rate": 800, "timeout_s": 60})
    found = Service(name="shop", url=site.url, routes=("/*",), identities=(who,))
    return found.model_copy(update={"probe": gentle})


def shown_to(allowed: Callable[[Request], bool]) -> Callable[[Request], Answer]:
    """A page that shows the marker to whoever is allowed."""
    return lambda request: Answer("Signed in as alice" if allowed(request) else "nobody")


def post(request: Request) -> Answer:
    """A form that wants the token of its page, from that page."""
    right = request.form == {"user": "alice", "csrf": "t&k"} and "csrftoken=t" in request.cookie
    if not right or not request.headers.get("Referer", "").endswith("/sign-in"):
        return Answer("forbidden", 403)
    return Answer("", 303, {"Location": "/", "Set-Cookie": "session=a%22b; Path=/; HttpOnly"})


WAYS: dict[str, tuple[dict[str, Any], Callable[[Request], bool]]] = {
    "form with a token": (
        {"path": "/sign-in", "form": {"user": "alice"}, "csrf_field": "csrf"},
        lambda request: "session=a%22b" in request.cookie,
    ),
    "header": (
        {"headers": {"Authorization": {"env": "TEST_SECRET"}}},
        lambda request: request.headers.get("Authorization") == SECRET,
    ),
    "cookie": (
        {"cookies": {"session": {"env": "TEST_TOKEN"}}},
        lambda request: request.cookie == "session=abc=/+",
    ),
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET)
    monkeypatch.setenv("TEST_TOKEN", "abc=/+")


@pytest.mark.parametrize("way", WAYS)
def test_pages_and_probe_are_signed_in(site: Site, way: str) -> None:
    """Every request of either client is that identity's."""
    how, allowed = WAYS[way]
    site.pages |= {
        "GET /sign-in": Answer(PAGE, headers={"Set-Cookie": "csrftoken=t"}),
        "POST /sign-in": post,
        "/account": shown_to(allowed),
        "/a": lambda request: Answer("", 200 if allowed(request) else 401),
    }
    service = shop(site, identity(**how))
    with visitor(service, service.identities[0]) as client:
        assert get(client, "/a", "shop").status_code == 200
    window = measure(service, [RouteAs(route="/a", identity="alice")])
    assert [sample.error for found in window.measurements for sample in found.samples] == [""] * 10


@pytest.mark.parametrize(
    ("how", "page", "failed"),
    [
        (WAYS["header"][0], PAGE, "/account does not show 'Signed in as alice'."),
        (WAYS["cookie"][0], PAGE, "/account does not show 'Signed in as alice'."),
        (WAYS["form with a token"][0], "no form", "GET /sign-in shows no field 'csrf', and /account does not show"),
        (WAYS["form with a token"][0], PAGE, "POST /sign-in answered 403, and /account does not show"),
    ],
)
def test_a_sign_in_that_silently_fails(site: Site, how: dict[str, Any], page: str, failed: str) -> None:
    """Whatever the way, the marker is the proof; the secret is not told."""
    site.pages |= {"GET /sign-in": Answer(page), "POST /sign-in": Answer("", 403), "/account": Answer("nobody")}
    service = shop(site, identity(**how))
    with pytest.raises(SlipwayError) as refused, visitor(service, service.identities[0]):
        pytest.fail("signed in")
    assert failed in refused.value.failed and SECRET not in str(refused.value)


def test_a_secret_that_is_not_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and nothing is asked."""
    monkeypatch.delenv("TEST_SECRET")
    service = shop(site, identity(**WAYS["header"][0]))
    with pytest.raises(InvalidInput, match="TEST_SECRET"), visitor(service, service.identities[0]):
        pytest.fail("signed in")
    assert site.requests == []


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({}, "either a form, or headers, or cookies"),
        ({"path": "/a"}, "form and path belong together"),
        ({"form": {}}, "form and path belong together"),
        ({"path": "/a", "form": {}, "headers": {"A": "b"}}, "either a form, or headers, or cookies"),
        ({"headers": {"A": "b"}, "csrf_field": "c"}, "csrf_field belongs to a form"),
        ({"headers": {"A b": "c"}}, "should match pattern"),
        ({"headers": {"A\r\nB": "c"}}, "should match pattern"),
    ],
)
def test_ways_that_do_not_fit(way: dict[str, Any], words: str) -> None:
    """A sign-in is one of three ways, and a name is a token."""
    with pytest.raises(ValueError, match=words):
        SignIn.model_validate(way)
