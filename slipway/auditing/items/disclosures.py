"""Internal details in error pages. Pure. Source: OWASP, Error Handling."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.auditing.report import AuditItem, Observation
from slipway.auditing.results import checked

PATTERNS = {
    "a stack trace": re.compile(
        r"Traceback \(most recent call last\)|^\s*File \"[^\"]+\", line \d+|\bat [\w$.<>]+\([\w.]+:\d+(:\d+)?\)"
        r"|^\s+at .+:\d+:\d+\)?$|Stack trace:|goroutine \d+ \[",
        re.MULTILINE,
    ),
    "a file path": re.compile(
        r"(?<![\w/.:=-])(?<!=\")(?<!=')/(home|usr|var|srv|opt|etc|app|root|tmp)/[\w.-]+(/[\w.-]+)*\.[a-z]{1,5}\b"
        r"|\b[A-Z]:\\[\w .-]+\\"
    ),
    "SQL": re.compile(
        r"\b(SELECT\s.{1,200}\sFROM|INSERT INTO\s+\w+|UPDATE\s+\w+\s+SET|DELETE FROM\s+\w+)\b|SQLSTATE|ORA-\d{5}"
        r"|psycopg|sqlalchemy|syntax error at or near",
        re.DOTALL,
    ),
    "the version of a program": re.compile(
        r"\b(Python|PHP|Django|Flask|Werkzeug|nginx|Apache|Varnish|PostgreSQL|MariaDB|MySQL|Tomcat|Express|uvicorn)"
        r"[/ v]+\d+\.\d+",
        re.IGNORECASE,
    ),
}
VERSION_HEADERS = ("server", "x-powered-by", "x-aspnet-version")
FIX = "Use a custom error page, disable debugging, and remove versions from Server and X-Powered-By."


def error_page_item(errors: Sequence[Observation]) -> AuditItem:
    """Return the item about the responses with a status from 400 on. Evidence names the kind of disclosure, never its text."""
    problems = [f"{error.place} ({error.status}) discloses {kind}" for error in errors for kind in disclosures(error)]
    return checked("error-page", "Error pages disclose no internal details.", "An error page discloses internal details.",
                   problems, FIX)  # fmt: skip


def disclosures(error: Observation) -> list[str]:
    """Return the kinds of internal details that a response discloses."""
    kinds = [kind for kind, pattern in PATTERNS.items() if pattern.search(error.body)]
    headers = [name for name in VERSION_HEADERS if re.search(r"\d+\.\d+", error.header(name))]
    return kinds + [f"a version in the header {name}" for name in headers]
