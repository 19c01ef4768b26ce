"""Test sign-in by form, with and without a token, by header and by cookie, for the page client and for the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slipway.config.service import Identity, Probe, Service, SignIn
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.frozen import RouteAs
from slipway.measurement.pages import get, service_client
from slipway.measurement.probe import measure
from tests.sites import Answer, Request, Site

SECRET = 'right "secret"'
PAGE = '<form method=post><input name="user"><input type=hidden value="t&amp;k" name="csrf"></form>'


def identity(**sign_in: Any) -> Identity:
    """Return a test user with that sign-in."""
    return Identity.model_validate(
        {"name": "alice", "sign_in": sign_in, "marker": "Signed in as alice", "marker_route": "/account"}
    )


def shop(site: Site, user: Identity) -> Service:
    """Return the service with that user."""
    gentle = Probe().model_copy(update={"bursts": 2, "requests": 5, "seconds": 0.1, "rate": 800, "timeout_s": 60})
    measurement = Service(name="shop", url=site.url, routes=("/*",), identities=(user,))
    return measurement.model_copy(update={"probe": gentle})


def shown_to(allowed: Callable[[Request], bool]) -> Callable[[Request], Answer]:
    """Return a page that shows the marker if the request is allowed."""
    return lambda request: Answer("Signed in as alice" if allowed(request) else "nobody")


def post(request: Request) -> Answer:
    """Accept the form only with the token of its page, sent from that page."""
    valid = request.form == {"user": "alice", "csrf": "t&k"} and "csrftoken=t" in request.cookie
    if not valid or not request.headers.get("Referer", "").endswith("/sign-in"):
        return Answer("forbidden", 403)
    return Answer("", 303, {"Location": "/", "Set-Cookie": "session=a%22b; Path=/; HttpOnly"})


SIGN_INS: dict[str, tuple[dict[str, Any], Callable[[Request], bool]]] = {
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


@pytest.mark.parametrize("name", SIGN_INS)
def test_pages_and_probe_are_signed_in(site: Site, name: str) -> None:
    """Every request of the client and of the probe is signed in."""
    sign_in, allowed = SIGN_INS[name]
    site.pages |= {
        "GET /sign-in": Answer(PAGE, headers={"Set-Cookie": "csrftoken=t"}),
        "POST /sign-in": post,
        "/account": shown_to(allowed),
        "/a": lambda request: Answer("", 200 if allowed(request) else 401),
    }
    service = shop(site, identity(**sign_in))
    with service_client(service, service.identities[0]) as client:
        assert get(client, "/a", "shop").status_code == 200
    window = measure(service, [RouteAs(route="/a", identity="alice")])
    assert [sample.error for measurement in window.measurements for sample in measurement.samples] == [""] * 10


@pytest.mark.parametrize(
    ("sign_in", "page", "failed"),
    [
        (SIGN_INS["header"][0], PAGE, "/account does not show 'Signed in as alice'."),
        (SIGN_INS["cookie"][0], PAGE, "/account does not show 'Signed in as alice'."),
        (
            SIGN_INS["form with a token"][0],
            "no form",
            "GET /sign-in has no form field 'csrf', and /account does not show",
        ),
        (SIGN_INS["form with a token"][0], PAGE, "POST /sign-in answered 403, and /account does not show"),
    ],
)
def test_sign_in_without_the_marker_fails(site: Site, sign_in: dict[str, Any], page: str, failed: str) -> None:
    """Every sign-in is verified by the marker, and the error does not contain the secret."""
    site.pages |= {"GET /sign-in": Answer(page), "POST /sign-in": Answer("", 403), "/account": Answer("nobody")}
    service = shop(site, identity(**sign_in))
    with pytest.raises(SlipwayError) as refused, service_client(service, service.identities[0]):
        pytest.fail("signed in")
    assert failed in refused.value.failed and SECRET not in str(refused.value)


def test_missing_secret_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names a missing secret, and no request is sent."""
    monkeypatch.delenv("TEST_SECRET")
    service = shop(site, identity(**SIGN_INS["header"][0]))
    with pytest.raises(InvalidInput, match="TEST_SECRET"), service_client(service, service.identities[0]):
        pytest.fail("signed in")
    assert site.requests == []


@pytest.mark.parametrize(
    ("sign_in", "message"),
    [
        ({}, "set exactly one of form, headers and cookies"),
        ({"path": "/a"}, "set both form and path, or neither"),
        ({"form": {}}, "set both form and path, or neither"),
        ({"path": "/a", "form": {}, "headers": {"A": "b"}}, "set exactly one of form, headers and cookies"),
        ({"headers": {"A": "b"}, "csrf_field": "c"}, "csrf_field is allowed only with form"),
        ({"headers": {"A b": "c"}}, "should match pattern"),
        ({"headers": {"A\r\nB": "c"}}, "should match pattern"),
    ],
)
def test_invalid_sign_in_is_rejected(sign_in: dict[str, Any], message: str) -> None:
    """A sign-in has exactly one of three forms, and header names are valid tokens."""
    with pytest.raises(ValueError, match=message):
        SignIn.model_validate(sign_in)
