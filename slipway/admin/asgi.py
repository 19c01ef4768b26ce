"""What is read of a request before anybody acts on it: its path as our own routes know it, and its body once more."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope


def path_of(scope: Scope) -> str:
    """The path, also where the service is mounted below another."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


def replayed(body: bytes, rest: Receive) -> Receive:
    """A body that was read already, to be read once more; then what comes after it."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return await rest()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
