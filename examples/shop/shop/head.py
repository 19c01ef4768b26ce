"""The headers of every response: the release, and security headers for browsers."""

import base64
import hashlib
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def allow_style(page: str) -> str:
    """Return the hash source of the page's own style sheet, so that browsers apply no other inline style sheet."""
    style = page.split("<style>")[1].split("</style>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


STYLE = allow_style(Path(__file__).with_name("templates").joinpath("base.html").read_text(encoding="utf-8"))
SECURITY = (
    (b"content-security-policy", f"default-src 'self'; style-src {STYLE}; frame-ancestors 'none'".encode("ascii")),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"x-content-type-options", b"nosniff"),
)


class Head:
    """Wrap an application and add the headers to every response, even to its last-resort error page."""

    def __init__(self, app: ASGIApp, release: str) -> None:
        self.app = app
        self.headers = ((b"x-release", release.encode("ascii")), *SECURITY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response."""

        async def send_with_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers]
            await send(message)

        await self.app(scope, receive, send_with_head)
