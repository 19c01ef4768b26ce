"""Security headers and the flags of cookies, as tables of cases."""

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
    """A page with good headers, some replaced or left out (None)."""
    changed = {name.replace("_", "-"): value for name, value in replaced.items()}
    kept = [(name, value) for name, value in (GOOD | changed).items() if value is not None]
    return Observation(target="/", identity="anonymous", status=200, headers=(*kept, *headers))


def results(items: list[AuditItem]) -> dict[str, str]:
    """The result of each item."""
    return {item.code: item.result for item in items}


@pytest.mark.parametrize("https", [True, False])
def test_good_headers(https: bool) -> None:
    """All pass; HSTS is looked at only where the service is reached by https."""
    found = results(security_headers([page()], https=https))
    assert found.pop("transport-security") == ("pass" if https else "not checked")
    assert set(found.values()) == {"pass"} and len(found) == 4


@pytest.mark.parametrize(
    ("replaced", "code", "told"),
    [
        ({"content_security_policy": None, "x_frame_options": "DENY"}, "content-security-policy", "no Content-Se"),
        (
            {"content_security_policy": "frame-ancestors 'none'"},
            "content-security-policy",
            "says nothing about scripts",
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
def test_a_header_that_is_missing_or_wrong(replaced: dict[str, str | None], code: str, told: str) -> None:
    """Only its own item fails, with the place and how to mend it."""
    items = security_headers([page(), page(**replaced)], https=True)
    [item] = [item for item in items if item.result == "fail"]
    assert item.code == code and item.mend
    assert item.evidence[0].startswith("/ as anonymous: ") and told in item.evidence[0]


def test_only_pages_need_a_policy() -> None:
    """JSON needs nosniff and no policy; without any page nothing is claimed."""
    found = results(security_headers([page(content_type="application/json", content_security_policy=None)], https=True))
    assert found["content-security-policy"] == "not checked" and found["content-type-options"] == "pass"


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
    """HttpOnly and SameSite everywhere, Secure over https; a cookie that is removed has nothing to protect."""
    found = cookie_flags([page(("set-cookie", cookie))], https=True)
    assert results(found) == {"cookie-flags": flags, "cookie-secure": secure}
    assert all("=1" not in line for item in found for line in item.evidence)


def test_cookies_over_http() -> None:
    """Secure cannot be asked for where there is no https."""
    found = cookie_flags([page(("set-cookie", "session=1; HttpOnly; SameSite=Lax"))], https=False)
    assert results(found) == {"cookie-secure": "not checked", "cookie-flags": "pass"}
    assert results(cookie_flags([page()], https=True))["cookie-flags"] == "not checked"
