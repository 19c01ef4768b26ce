"""Security headers and the flags of cookies. Pure.

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
READ_BY_SCRIPTS = re.compile(r"csrf|xsrf", re.IGNORECASE)  # scripts of the page must read such a token


def security_headers(observations: Sequence[Observation], *, https: bool) -> list[AuditItem]:
    """Return an item per security header. Pages are HTML responses; `https` means that visitors reach the service by https."""
    pages = [observation for observation in observations if observation.is_page]
    return [
        _header_item("content-security-policy", pages, _csp_problem, CSP),
        _header_item("content-type-options", observations, _nosniff_problem, NOSNIFF),
        _header_item("referrer-policy", pages, _referrer_problem, REFERRER),
        _header_item("frame-protection", pages, _frame_problem, FRAME),
        _header_item("transport-security", observations, _hsts_problem, HSTS)
        if https
        else not_checked("transport-security", "The service's URL is not https."),
    ]


def cookie_flags(observations: Sequence[Observation], *, https: bool) -> list[AuditItem]:
    """Return two items about all Set-Cookie headers: Secure, only checked over https, and HttpOnly with SameSite."""
    cookies = [
        (observation.place, value)
        for observation in observations
        for value in observation.values("set-cookie")
        if not _is_removed(value)
    ]
    if not cookies:
        return [not_checked(code, "No page and no sign-in set a cookie.") for code in ("cookie-secure", "cookie-flags")]
    insecure = [_missing_flag(place, value, "Secure") for place, value in cookies if "secure" not in attributes(value)]
    return [
        checked("cookie-secure", "Every cookie is Secure.", "A cookie may be sent unencrypted.", insecure, SECURE)
        if https
        else not_checked("cookie-secure", "The service's URL is not https."),
        checked(
            "cookie-flags",
            "Every cookie has HttpOnly and SameSite.",
            "A cookie lacks HttpOnly or SameSite.",
            [problem for place, value in cookies for problem in _flag_problems(place, value)],
            FLAGS,
        ),
    ]


def attributes(set_cookie: str) -> dict[str, str]:
    """Return the attributes of a Set-Cookie value in lower case, without the cookie itself (RFC 6265, section 5.2)."""
    pairs = (part.partition("=") for part in set_cookie.split(";")[1:])
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


def _header_item(
    code: AuditCode,
    observations: Sequence[Observation],
    problem_of: Callable[[Observation], str],
    texts: tuple[str, str, str],
) -> AuditItem:
    if not observations:
        return not_checked(code, "No page was read to which this applies.")
    problems = [
        f"{observation.place}: {problem}" for observation in observations if (problem := problem_of(observation))
    ]
    return checked(code, texts[0], texts[1], problems, texts[2])


def _csp_problem(page: Observation) -> str:
    policy = page.header("content-security-policy")
    if not policy:
        return "no Content-Security-Policy"
    if not re.search(r"(^|[;,])\s*(default-src|script-src)\s", policy + " "):
        return "Content-Security-Policy does not restrict scripts"
    return ""


def _nosniff_problem(observation: Observation) -> str:
    nosniff = observation.header("x-content-type-options").lower() == "nosniff"
    return "" if nosniff else "no X-Content-Type-Options: nosniff"


def _referrer_problem(page: Observation) -> str:
    policies = [word.strip().lower() for word in page.header("referrer-policy").split(",") if word.strip()]
    if not policies:
        return "no Referrer-Policy"
    return f"Referrer-Policy: {policies[-1]}" if policies[-1] in LEAKY_REFERRERS else ""


def _frame_problem(page: Observation) -> str:
    if re.search(r"(^|[;,])\s*frame-ancestors\s+(?!\*)", page.header("content-security-policy")):
        return ""
    allowed = page.header("x-frame-options").strip().upper() in ("DENY", "SAMEORIGIN")
    return "" if allowed else "neither frame-ancestors nor X-Frame-Options"


def _hsts_problem(observation: Observation) -> str:
    max_age = re.search(r"max-age\s*=\s*\"?(\d+)", observation.header("strict-transport-security"), re.IGNORECASE)
    if max_age is None:
        return "no Strict-Transport-Security"
    return "Strict-Transport-Security: max-age=0" if int(max_age[1]) == 0 else ""


def _is_removed(set_cookie: str) -> bool:
    flags = attributes(set_cookie)
    return flags.get("max-age", "").startswith(("0", "-")) or "1970" in flags.get("expires", "")


def _flag_problems(place: str, value: str) -> list[str]:
    flags = attributes(value)
    problems = []
    if "httponly" not in flags and not READ_BY_SCRIPTS.search(value.partition("=")[0]):
        problems.append(_missing_flag(place, value, "HttpOnly"))
    if flags.get("samesite") not in ("lax", "strict", "none"):
        problems.append(_missing_flag(place, value, "SameSite"))
    if flags.get("samesite") == "none" and "secure" not in flags:
        problems.append(_missing_flag(place, value, "Secure, which SameSite=None needs"))
    return problems


def _missing_flag(place: str, value: str, flag: str) -> str:
    return f"{place}: the cookie {value.partition('=')[0].strip()} lacks {flag}"


CSP = (
    "Every page has a Content-Security-Policy.",
    "Some pages allow any script to run.",
    "Send Content-Security-Policy: default-src 'self', and then allow more sources as needed (CSP Level 3).",
)
NOSNIFF = (
    "Every response forbids sniffing.",
    "Browsers may guess the type of a response.",
    "Send X-Content-Type-Options: nosniff with every response.",
)
REFERRER = (
    "Every page has a Referrer-Policy.",
    "Pages may send their full URL to other sites.",
    "Send Referrer-Policy: strict-origin-when-cross-origin, or a stricter one.",
)
FRAME = (
    "No page can be framed by other sites.",
    "Other sites can show pages in a frame.",
    "Send frame-ancestors 'none' in the Content-Security-Policy, or X-Frame-Options: DENY (RFC 7034).",
)
HSTS = (
    "Every response requires https.",
    "Visitors may be redirected to http.",
    "Send Strict-Transport-Security: max-age=31536000 (RFC 6797).",
)
SECURE = "Set the cookie with Secure, or use the name prefix __Host- (RFC 6265, section 4.1.2.5)."
FLAGS = "Set the cookie with HttpOnly and SameSite=Lax (RFC 6265, section 4.1.2.6; RFC 6265bis, section 5.6.7)."
