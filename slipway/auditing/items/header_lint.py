"""httplint: what a linter of HTTP headers notices in one response. It does no I/O."""

from __future__ import annotations

from httplint import HttpRequestLinter, HttpResponseLinter, levels

from slipway.auditing.report import Observation
from slipway.core.finding import Finding, Level

# `public` is harmless where it is not needed, and serving stale is the cache's own business.
IGNORED = {"STORE_PUBLIC_UNNECESSARY", "STALE_SERVABLE"}
LEVELS: dict[levels, Level] = {levels.BAD: "error", levels.WARN: "warning"}


def lint(one: Observation, url: str) -> list[Finding]:
    """The errors and warnings about the headers of one response to a GET of `url`, by httplint's own codes.

    Names of headers are in lower case. The body is not looked at, so Content-Length cannot be either.
    """
    request = HttpRequestLinter()
    request.process_request_topline(b"GET", url.encode(), b"1.1")
    request.process_headers([(b"user-agent", b"slipway")])
    request.finish_content(True)
    response = HttpResponseLinter()
    response.request = request
    response.process_response_topline(b"1.1", str(one.status).encode(), b"")
    response.process_headers(
        [(name.encode(), value.encode("latin-1", "replace")) for name, value in one.headers if name != "content-length"]
    )
    response.finish_content(True)
    return [
        Finding(code=code, level=LEVELS[note.level], summary=str(note.summary), explanation=note.category.value)
        for note in response.notes
        if (code := type(note).__name__) not in IGNORED and note.level in LEVELS
    ]
