"""ASGI helpers: the path of a request without its mount prefix, and a request body that can be read again."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope


def path_of(scope: Scope) -> str:
    """Return the path without the prefix that the service is mounted under."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


def replay(body: bytes, receive_rest: Receive) -> Receive:
    """Return a receive function that sends a body that was already read, and then the messages of `receive_rest`."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return await receive_rest()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
