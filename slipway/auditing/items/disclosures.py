"""What an error page tells that only the service's owners should know. Pure. Source: OWASP, Error Handling."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.auditing.report import AuditItem, Observation
from slipway.auditing.results import checked

TELLS = {
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
TELLING_HEADERS = ("server", "x-powered-by", "x-aspnet-version")
MEND = "Answer errors with a page of your own, switch debugging off, and leave versions out of Server and X-Powered-By."


def error_page_item(errors: Sequence[Observation]) -> AuditItem:
    """The item over the answers of 400 and above; it names what each tells, never the text itself."""
    problems = [f"{one.place} ({one.status}) tells {what}" for one in errors for what in told(one)]
    return checked("error-page", "Error pages tell nothing that is not for visitors.", "An error page tells too much.",
                   problems, MEND)  # fmt: skip


def told(one: Observation) -> list[str]:
    """What one answer tells, as kinds."""
    found = [kind for kind, pattern in TELLS.items() if pattern.search(one.body)]
    headers = [name for name in TELLING_HEADERS if re.search(r"\d+\.\d+", one.header(name))]
    return found + [f"a version in the header {name}" for name in headers]
