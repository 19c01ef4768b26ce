"""Findings of httplint, a linter for HTTP headers, about one response. Pure."""

from __future__ import annotations

from httplint import HttpRequestLinter, HttpResponseLinter, levels

from slipway.auditing.report import Observation
from slipway.core.finding import Finding, Level

# An unnecessary `public` is harmless, and serving stale pages is the cache's decision.
IGNORED = {"STORE_PUBLIC_UNNECESSARY", "STALE_SERVABLE"}
LEVELS: dict[levels, Level] = {levels.BAD: "error", levels.WARN: "warning"}


def lint(observation: Observation, url: str) -> list[Finding]:
    """Return httplint's errors and warnings, with its codes, about the headers of one response to a GET of `url`.

    Header names are in lower case. httplint gets no body, so Content-Length is not checked either.
    """
    request = HttpRequestLinter()
    request.process_request_topline(b"GET", url.encode(), b"1.1")
    request.process_headers([(b"user-agent", b"slipway")])
    request.finish_content(True)
    response = HttpResponseLinter()
    response.request = request
    response.process_response_topline(b"1.1", str(observation.status).encode(), b"")
    response.process_headers(
        [
            (name.encode(), value.encode("latin-1", "replace"))
            for name, value in observation.headers
            if name != "content-length"
        ]
    )
    response.finish_content(True)
    return [
        Finding(code=code, level=LEVELS[note.level], summary=str(note.summary), explanation=note.category.value)
        for note in response.notes
        if (code := type(note).__name__) not in IGNORED and note.level in LEVELS
    ]
