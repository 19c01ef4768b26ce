"""The guard: before any door is reached it finds who asks, and refuses what they may not. What has no line is refused."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway.admin.asgi import path_of
from slipway.admin.auth.caller import CALLER, Caller, refused
from slipway.admin.auth.csrf import refuse_forged
from slipway.admin.auth.lookup import Access
from slipway.admin.auth.permissions import Permission, methods_of, permission_of
from slipway.admin.auth.permissions import Scope as For
from slipway.admin.auth.run_services import service_of_change, service_of_run, who_asked_for
from slipway.admin.problems import Forbidden, NotFound, NotSignedIn, Refusal, is_page, problem, status_of
from slipway.admin.templating import link
from slipway.core.errors import SlipwayError

SAFE = ("GET", "HEAD", "OPTIONS")
LOOKED_AGAIN_S = 15.0  # so long a stream may go on behind the end of its reader's rights
_said = logging.getLogger("slipway.access")


class NotAllowedMethod(Refusal):
    """There is such a path, and no such request."""

    status = 405


class Guard:
    """Stands before the whole app; `hosts` are the names that the service answers to."""

    def __init__(self, app: ASGIApp, hosts: list[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._guarded(Request(scope, receive), send)
        else:  # no door speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _guarded(self, request: Request, send: Send) -> None:
        told = _Told(request, send)
        try:
            receive = await self._let_in(request, told)
        except SlipwayError as error:
            await _refusal(request, error)(request.scope, request.receive, told.send)
            return
        except ClientDisconnect:  # in the middle of a form: nobody waits for an answer
            return
        known = CALLER.set(told.caller)
        told.begin()
        try:
            await self._app(request.scope, receive, told.send)
        except BaseException:
            await told.note("failed: 500")
            raise
        finally:
            CALLER.reset(known)

    async def _let_in(self, request: Request, told: _Told) -> Receive:
        """How the body is read by whom the request is for. Raises SlipwayError when it must not get there."""
        self._refuse_host(request)
        path = path_of(request.scope)
        found = permission_of(request.method, path)
        if found is not None and found[0].right is None:
            unsafe = request.method not in SAFE
            return await refuse_forged(request, None) if unsafe else request.receive
        access: Access = request.app.state.access
        caller = await access.caller(request, fresh=request.method not in SAFE)
        if caller is None:
            raise NotSignedIn(
                "It is not known who asks.", expected="A sign-in, or a token.", headers={"WWW-Authenticate": "Bearer"}
            )
        told.caller = request.scope["slipway.caller"] = caller
        if found is None:
            raise _no_such(request, path)
        told.need = found[0]
        await _demand(request, caller, *found)
        if request.method in SAFE:
            return _as_long_as_welcome(request, access)
        return await refuse_forged(request, caller) if caller.how != "token" else request.receive

    def _refuse_host(self, request: Request) -> None:
        """A page of another site that points its own name at our address gets nothing (DNS rebinding)."""
        host = request.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name not in self._hosts:
            raise Refusal("This service does not answer to that host name.", expected="A name of SLIPWAY_HOSTS.")


def _as_long_as_welcome(request: Request, access: Access) -> Receive:
    """How a long answer hears that its reader is gone; one whose session or token has ended is, too."""

    async def receive() -> Message:
        heard = asyncio.ensure_future(request.receive())
        try:
            while not (await asyncio.wait([heard], timeout=LOOKED_AGAIN_S))[0]:
                if not await _is_welcome(request, access):
                    return {"type": "http.disconnect"}
            return heard.result()
        finally:
            heard.cancel()

    return receive


async def _is_welcome(request: Request, access: Access) -> bool:
    try:
        return await access.caller(request, fresh=False) is not None
    except SlipwayError:
        return False  # whoever is still welcome comes back


async def _demand(request: Request, caller: Caller, need: Permission, found: dict[str, str]) -> None:
    """Raise Forbidden when the caller has not the right, NotFound for what they may not even see."""
    assert need.right is not None
    if not caller.may_somewhere(need.right):
        raise refused(caller, need.right, None)
    if need.scope is For.ALL and not caller.may_everywhere(need.right):
        raise refused(caller, need.right, None)
    container = request.app.state.container
    if need.scope is For.SERVICE:
        _demand_service(caller, need, found["service"], f"There is no service {found['service']!r}.")
    elif need.scope is For.CHANGE and not caller.may_everywhere(need.right):
        service = await service_of_change(container, found["change"])
        _demand_service(caller, need, service, f"There is no change {found['change']!r}.")
    elif need.scope is For.RUN and not caller.may_everywhere(need.right):
        service = await service_of_run(container, found["run_id"])
        _demand_service(caller, need, service, f"There is no run {found['run_id']}.")
    if need.by_another:
        await _refuse_own(container, caller, found["run_id"])


def _demand_service(caller: Caller, need: Permission, service: str | None, nothing: str) -> None:
    assert need.right is not None
    if not caller.readable(service):
        raise NotFound(nothing, expected="What the lists show.")
    if not caller.may(need.right, service):
        raise refused(caller, need.right, service)


async def _refuse_own(container: Any, caller: Caller, run_id: str) -> None:
    """Two people stand behind what is approved: who asked for it, and who says yes."""
    if await who_asked_for(container, run_id) == caller.person:
        raise Forbidden(
            f"{caller.person} asked for run {run_id}, and cannot approve it.",
            expected="The approval of another person (or of a token that another person made).",
        )


def _no_such(request: Request, path: str) -> SlipwayError:
    asked, methods = f"{request.method} {path}", ", ".join(methods_of(path))
    if methods:
        return NotAllowedMethod(f"{asked}: Method Not Allowed.", expected=f"{methods}.", headers={"Allow": methods})
    return NotFound(f"{asked}: Not Found.", expected="A request as /openapi.json says.")


def _refusal(request: Request, error: SlipwayError) -> Response:
    """The refusal as a problem; a person without a session is led to the sign-in page."""
    status = status_of(error)
    if status != 401 or not is_page(request.scope):
        return problem(request, status, error)
    path = path_of(request.scope)
    query = f"?{request.url.query}" if request.url.query else ""
    where = link(request, "/pages/sign-in")
    if request.method in ("GET", "HEAD") and path != "/":
        where += f"?next={quote(path + query, safe='/')}"
    if request.headers.get("hx-request"):  # a part of a page: the whole page has to go there
        return Response(status_code=401, headers={"HX-Redirect": where})
    return RedirectResponse(where, status_code=303, headers={"Cache-Control": "no-store"})


class _Told:
    """What the log is told about a request: before its answer leaves that it began, and then what came of it."""

    def __init__(self, request: Request, send: Send) -> None:
        self._request = request
        self._send = send
        self._done = False
        self._begun: asyncio.Future[str] | None = None
        self.caller: Caller | None = None
        self.need: Permission | None = None

    def begin(self) -> None:
        """Have the log say that what acts begins; it does so meanwhile."""
        if self.caller is not None and self._request.method not in SAFE:
            self._begun = asyncio.ensure_future(self._begin(self.caller))

    async def _begin(self, caller: Caller) -> str:
        """The id of what begins; empty when the log cannot be written, which is said when that is noted which came of it."""
        what, on = self._what, path_of(self._request.scope)
        try:
            return await self._access.begin(self._request, what, on, who=caller.person, how=caller.words)
        except SlipwayError:
            return ""

    async def send(self, message: Message) -> None:
        """Send on; an answer's beginning waits for the log."""
        if message["type"] == "http.response.start":
            status = int(message["status"])
            if status == 403 or self._request.method not in SAFE:
                led_to = next((value for name, value in message["headers"] if name.lower() == b"location"), b"")
                await self.note(_outcome(status), led_to.decode("latin-1"))
        await self._send(message)

    async def note(self, outcome: str, led_to: str = "") -> None:
        """Write one line, once; nobody waits for it where the log knows that it began."""
        if self._done or self.caller is None or (self._request.method in SAFE and "403" not in outcome):
            return
        self._done = True
        begun = await self._begun if self._begun is not None else ""
        noting = self._note(self.caller, outcome, led_to, begun)
        if begun:
            self._access.later(noting)
        else:
            await noting

    async def _note(self, caller: Caller, outcome: str, led_to: str, begun: str) -> None:
        """What was done is not undone when this fails: it is said aloud instead."""
        more = self._request.scope.get("slipway.about") or (led_to if "/runs/" in led_to else "")
        on = f"{path_of(self._request.scope)} → {more}" if more else path_of(self._request.scope)
        who: dict[str, Any] = {"who": caller.person, "how": caller.words}
        try:
            await self._access.note(self._request, self._what, on, outcome, begun=begun, **who)
        except SlipwayError as error:
            _said.error(
                "not in the access log: %s did %r on %r (%s): %s", who["who"], self._what, on, outcome, error.failed
            )

    @property
    def _access(self) -> Access:
        access: Access = self._request.app.state.access
        return access

    @property
    def _what(self) -> str:
        return self.need.what if self.need else f"{self._request.method} of nothing"


def _outcome(status: int) -> str:
    word = "done" if status < 400 else "refused" if status in (401, 403, 429) else "failed"
    return f"{word}: {status}"
