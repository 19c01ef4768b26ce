"""Tests of the security headers and cookie flags."""

from __future__ import annotations

import pytest

from slipway.auditing.items.browser_headers import cookie_flags, security_headers
from slipway.auditing.report import AuditItem, Observation

GOOD = {
    "content-type": "text/html",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
}


def page(*headers: tuple[str, str], **replaced: str | None) -> Observation:
    """Return a page with good headers, some of them replaced or removed (None)."""
    changed = {name.replace("_", "-"): value for name, value in replaced.items()}
    good = [(name, value) for name, value in (GOOD | changed).items() if value is not None]
    return Observation(target="/", identity="anonymous", status=200, headers=(*good, *headers))


def results(items: list[AuditItem]) -> dict[str, str]:
    """Return the result of each item."""
    return {item.code: item.result for item in items}


@pytest.mark.parametrize("https", [True, False])
def test_good_headers_pass(https: bool) -> None:
    """All items pass. HSTS is checked only if visitors reach the service by https."""
    result_of = results(security_headers([page()], https=https))
    assert result_of.pop("transport-security") == ("pass" if https else "not checked")
    assert set(result_of.values()) == {"pass"} and len(result_of) == 4


@pytest.mark.parametrize(
    ("replaced", "code", "problem"),
    [
        ({"content_security_policy": None, "x_frame_options": "DENY"}, "content-security-policy", "no Content-Se"),
        (
            {"content_security_policy": "frame-ancestors 'none'"},
            "content-security-policy",
            "does not restrict scripts",
        ),
        ({"x_content_type_options": None}, "content-type-options", "no X-Content-Type-Options: nosniff"),
        ({"x_content_type_options": "sniff"}, "content-type-options", "no X-Content-Type-Options: nosniff"),
        ({"referrer_policy": None}, "referrer-policy", "no Referrer-Policy"),
        ({"referrer_policy": "no-referrer, unsafe-url"}, "referrer-policy", "Referrer-Policy: unsafe-url"),
        ({"content_security_policy": "default-src 'self'"}, "frame-protection", "neither frame-ancestors nor"),
        (
            {"content_security_policy": "default-src 'self'; frame-ancestors *"},
            "frame-protection",
            "neither frame-ancestors nor",
        ),
        (
            {"content_security_policy": "default-src 'self'", "x_frame_options": "ALLOWALL"},
            "frame-protection",
            "neither frame-ancestors nor",
        ),
        ({"strict_transport_security": None}, "transport-security", "no Strict-Transport-Security"),
        ({"strict_transport_security": "max-age=0"}, "transport-security", "max-age=0"),
    ],
)
def test_a_missing_or_wrong_header_fails_its_item(replaced: dict[str, str | None], code: str, problem: str) -> None:
    """Only the item of the header fails, with the place and the fix."""
    items = security_headers([page(), page(**replaced)], https=True)
    [item] = [item for item in items if item.result == "fail"]
    assert item.code == code and item.mend
    assert item.evidence[0].startswith("/ as anonymous: ") and problem in item.evidence[0]


def test_only_pages_need_a_policy() -> None:
    """JSON needs nosniff but no policy. Without a page, the policy is not checked."""
    json_page = page(content_type="application/json", content_security_policy=None)
    result_of = results(security_headers([json_page], https=True))
    assert result_of["content-security-policy"] == "not checked" and result_of["content-type-options"] == "pass"


@pytest.mark.parametrize(
    ("cookie", "flags", "secure"),
    [
        ("session=1; Secure; HttpOnly; SameSite=Lax", "pass", "pass"),
        ("session=1; secure; httponly; samesite=strict", "pass", "pass"),
        ("session=1; HttpOnly; SameSite=Lax", "pass", "fail"),
        ("session=1; Secure; SameSite=Lax", "fail", "pass"),
        ("session=1; Secure; HttpOnly", "fail", "pass"),
        ("session=1; HttpOnly; SameSite=None", "fail", "fail"),
        ("csrftoken=1; Secure; SameSite=Lax", "pass", "pass"),
        ("session=; Max-Age=0", "not checked", "not checked"),
        ("session=HttpOnly", "fail", "fail"),
    ],
)
def test_cookie_flags(cookie: str, flags: str, secure: str) -> None:
    """Cookies need HttpOnly and SameSite, and Secure over https. The removal of a cookie is not checked."""
    items = cookie_flags([page(("set-cookie", cookie))], https=True)
    assert results(items) == {"cookie-flags": flags, "cookie-secure": secure}
    assert all("=1" not in line for item in items for line in item.evidence)


def test_secure_is_not_checked_over_http() -> None:
    """A service without https cannot set Secure."""
    items = cookie_flags([page(("set-cookie", "session=1; HttpOnly; SameSite=Lax"))], https=False)
    assert results(items) == {"cookie-secure": "not checked", "cookie-flags": "pass"}
    assert results(cookie_flags([page()], https=True))["cookie-flags"] == "not checked"
