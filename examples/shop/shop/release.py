"""The release, on every answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ReleaseHeader:
    """Wraps an application from outside, so that even its last-resort error page names the release."""

    def __init__(self, app: ASGIApp, release: str) -> None:
        self.app = app
        self.header = (b"x-release", release.encode("ascii"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add `X-Release` to the head of the answer."""

        async def send_with_release(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], self.header]
            await send(message)

        await self.app(scope, receive, send_with_release)
