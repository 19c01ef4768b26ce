"""What a page tells the browser about its safety: security headers and the flags of cookies. Pure.

Sources: Content Security Policy Level 3 and Referrer Policy (W3C), Fetch (WHATWG, nosniff), RFC 7034 (X-Frame-Options),
RFC 6797 (HSTS), RFC 6265 and its successor draft (Set-Cookie), OWASP Secure Headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from slipway.auditing.report import AuditItem, Observation
from slipway.auditing.results import checked, not_checked
from slipway.config.audit_codes import AuditCode

LEAKY_REFERRERS = {"unsafe-url", "no-referrer-when-downgrade"}
READ_BY_SCRIPTS = re.compile(r"csrf|xsrf", re.IGNORECASE)  # such a token is meant for the page's own scripts


def security_headers(seen: Sequence[Observation], *, https: bool) -> list[AuditItem]:
    """An item for each header that browsers look for; pages are HTML, and `https` is how visitors reach the service."""
    pages = [one for one in seen if one.is_page]
    return [
        _each("content-security-policy", pages, _without_policy, CSP),
        _each("content-type-options", seen, _may_be_sniffed, NOSNIFF),
        _each("referrer-policy", pages, _tells_its_address, REFERRER),
        _each("frame-protection", pages, _may_be_framed, FRAME),
        _each("transport-security", seen, _without_hsts, HSTS)
        if https
        else not_checked("transport-security", "The service's URL is not https."),
    ]


def cookie_flags(seen: Sequence[Observation], *, https: bool) -> list[AuditItem]:
    """Two items over all Set-Cookie headers: Secure, which only https can have, and HttpOnly with SameSite."""
    cookies = [(one.place, value) for one in seen for value in one.values("set-cookie") if not _is_removed(value)]
    if not cookies:
        return [not_checked(code, "No page and no sign-in set a cookie.") for code in ("cookie-secure", "cookie-flags")]
    insecure = [_cookie(place, value, "Secure") for place, value in cookies if "secure" not in attributes(value)]
    return [
        checked("cookie-secure", "Every cookie is Secure.", "A cookie may travel in the clear.", insecure, SECURE)
        if https
        else not_checked("cookie-secure", "The service's URL is not https."),
        checked(
            "cookie-flags",
            "Every cookie has HttpOnly and SameSite.",
            "A cookie lacks HttpOnly or SameSite.",
            [problem for place, value in cookies for problem in _lacks(place, value)],
            FLAGS,
        ),
    ]


def attributes(set_cookie: str) -> dict[str, str]:
    """The attributes of a Set-Cookie value in lower case, without the cookie itself (RFC 6265, section 5.2)."""
    pairs = (part.partition("=") for part in set_cookie.split(";")[1:])
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


def _each(
    code: AuditCode, seen: Sequence[Observation], problem: Callable[[Observation], str], words: tuple[str, str, str]
) -> AuditItem:
    if not seen:
        return not_checked(code, "No page was read that this is about.")
    problems = [f"{one.place}: {told}" for one in seen if (told := problem(one))]
    return checked(code, words[0], words[1], problems, words[2])


def _without_policy(page: Observation) -> str:
    policy = page.header("content-security-policy")
    if not policy:
        return "no Content-Security-Policy"
    if not re.search(r"(^|[;,])\s*(default-src|script-src)\s", policy + " "):
        return "Content-Security-Policy says nothing about scripts"
    return ""


def _may_be_sniffed(one: Observation) -> str:
    return "" if one.header("x-content-type-options").lower() == "nosniff" else "no X-Content-Type-Options: nosniff"


def _tells_its_address(page: Observation) -> str:
    policies = [word.strip().lower() for word in page.header("referrer-policy").split(",") if word.strip()]
    if not policies:
        return "no Referrer-Policy"
    return f"Referrer-Policy: {policies[-1]}" if policies[-1] in LEAKY_REFERRERS else ""


def _may_be_framed(page: Observation) -> str:
    if re.search(r"(^|[;,])\s*frame-ancestors\s+(?!\*)", page.header("content-security-policy")):
        return ""
    allowed = page.header("x-frame-options").strip().upper() in ("DENY", "SAMEORIGIN")
    return "" if allowed else "neither frame-ancestors nor X-Frame-Options"


def _without_hsts(one: Observation) -> str:
    age = re.search(r"max-age\s*=\s*\"?(\d+)", one.header("strict-transport-security"), re.IGNORECASE)
    if age is None:
        return "no Strict-Transport-Security"
    return "Strict-Transport-Security: max-age=0" if int(age[1]) == 0 else ""


def _is_removed(set_cookie: str) -> bool:
    found = attributes(set_cookie)
    return found.get("max-age", "").startswith(("0", "-")) or "1970" in found.get("expires", "")


def _lacks(place: str, value: str) -> list[str]:
    found = attributes(value)
    problems = []
    if "httponly" not in found and not READ_BY_SCRIPTS.search(value.partition("=")[0]):
        problems.append(_cookie(place, value, "HttpOnly"))
    if found.get("samesite") not in ("lax", "strict", "none"):
        problems.append(_cookie(place, value, "SameSite"))
    if found.get("samesite") == "none" and "secure" not in found:
        problems.append(_cookie(place, value, "Secure, which SameSite=None needs"))
    return problems


def _cookie(place: str, value: str, lacks: str) -> str:
    return f"{place}: the cookie {value.partition('=')[0].strip()} lacks {lacks}"


CSP = (
    "Every page has a Content-Security-Policy.",
    "Pages let any script run.",
    "Send Content-Security-Policy: default-src 'self' and allow from there (CSP Level 3).",
)
NOSNIFF = (
    "Every answer forbids sniffing.",
    "Browsers may guess the type of an answer.",
    "Send X-Content-Type-Options: nosniff with every answer.",
)
REFERRER = (
    "Every page has a Referrer-Policy.",
    "Pages may tell their whole address to other sites.",
    "Send Referrer-Policy: strict-origin-when-cross-origin, or a stricter one.",
)
FRAME = (
    "No page can be framed by other sites.",
    "Other sites may show pages in a frame.",
    "Send frame-ancestors 'none' in the Content-Security-Policy, or X-Frame-Options: DENY (RFC 7034).",
)
HSTS = (
    "Every answer asks for https.",
    "A visitor may be brought back to http.",
    "Send Strict-Transport-Security: max-age=31536000 (RFC 6797).",
)
SECURE = "Set the cookie with Secure, or name it __Host-… (RFC 6265, section 4.1.2.5)."
FLAGS = "Set the cookie with HttpOnly and SameSite=Lax (RFC 6265, section 4.1.2.6; RFC 6265bis, section 5.6.7)."
