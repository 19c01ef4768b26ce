"""The guard checks every request before it reaches an endpoint. It refuses requests without a permission entry."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway.admin.asgi import path_of
from slipway.admin.auth.caller import CALLER, Caller, forbidden
from slipway.admin.auth.csrf import check_csrf
from slipway.admin.auth.lookup import Access
from slipway.admin.auth.permissions import Permission, methods_of, permission_of
from slipway.admin.auth.permissions import Scope as ServiceScope
from slipway.admin.auth.run_services import requester_of, service_of_change, service_of_run
from slipway.admin.problems import Forbidden, NotFound, NotSignedIn, Refusal, is_page, problem, status_of
from slipway.admin.templating import link
from slipway.core.errors import SlipwayError

SAFE = ("GET", "HEAD", "OPTIONS")
RECHECK_S = 15.0  # a stream continues for at most this long after its reader has lost access
_logger = logging.getLogger("slipway.access")


class MethodNotAllowed(Refusal):
    """The path exists, but not for this method."""

    status = 405


class Guard:
    """Middleware around the whole app. `hosts` are the host names that the service answers to."""

    def __init__(self, app: ASGIApp, hosts: list[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._handle(Request(scope, receive), send)
        else:  # no endpoint supports WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _handle(self, request: Request, send: Send) -> None:
        log = _RequestLog(request, send)
        try:
            receive = await self._authorize(request, log)
        except SlipwayError as error:
            await _refusal(request, error)(request.scope, request.receive, log.send)
            return
        except ClientDisconnect:  # while reading a form: the client no longer waits for a response
            return
        token = CALLER.set(log.caller)
        log.start()
        try:
            await self._app(request.scope, receive, log.send)
        except BaseException:
            await log.finish("failed: 500")
            raise
        finally:
            CALLER.reset(token)

    async def _authorize(self, request: Request, log: _RequestLog) -> Receive:
        """Return the `receive` from which the endpoint reads the body. Raises `SlipwayError` if the request is refused."""
        self._check_host(request)
        path = path_of(request.scope)
        match = permission_of(request.method, path)
        if match is not None and match[0].right is None:
            unsafe = request.method not in SAFE
            return await check_csrf(request, None) if unsafe else request.receive
        access: Access = request.app.state.access
        caller = await access.caller(request, fresh=request.method not in SAFE)
        if caller is None:
            raise NotSignedIn(
                "The request is not authenticated.",
                expected="A session cookie or an API token.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        log.caller = request.scope["slipway.caller"] = caller
        if match is None:
            raise _unknown_request(request, path)
        log.permission = match[0]
        await _check_permission(request, caller, *match)
        if request.method in SAFE:
            return _receive_while_authenticated(request, access)
        return await check_csrf(request, caller) if caller.how != "token" else request.receive

    def _check_host(self, request: Request) -> None:
        """Raise `Refusal` for an unknown host name: another site may point its own name at our address (DNS rebinding)."""
        host = request.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name not in self._hosts:
            raise Refusal(
                "This service does not answer to that host name.", expected="A host name that SLIPWAY_HOSTS lists."
            )


def _receive_while_authenticated(request: Request, access: Access) -> Receive:
    """Return a `receive` that also reports a disconnect when the reader's session or token ends, so that a stream ends."""

    async def receive() -> Message:
        message = asyncio.ensure_future(request.receive())
        try:
            while not (await asyncio.wait([message], timeout=RECHECK_S))[0]:
                if not await _is_authenticated(request, access):
                    return {"type": "http.disconnect"}
            return message.result()
        finally:
            message.cancel()

    return receive


async def _is_authenticated(request: Request, access: Access) -> bool:
    try:
        return await access.caller(request, fresh=False) is not None
    except SlipwayError:
        return False  # a reader who still has access reconnects


async def _check_permission(request: Request, caller: Caller, permission: Permission, params: dict[str, str]) -> None:
    """Raise `Forbidden` if the caller lacks the right, and `NotFound` if the caller may not see the resource at all."""
    assert permission.right is not None
    if not caller.may_somewhere(permission.right):
        raise forbidden(caller, permission.right, None)
    if permission.scope is ServiceScope.ALL and not caller.may_everywhere(permission.right):
        raise forbidden(caller, permission.right, None)
    container = request.app.state.container
    if permission.scope is ServiceScope.SERVICE:
        _check_service(caller, permission, params["service"], f"There is no service {params['service']!r}.")
    elif permission.scope is ServiceScope.CHANGE and not caller.may_everywhere(permission.right):
        service = await service_of_change(container, params["change"])
        _check_service(caller, permission, service, f"There is no change {params['change']!r}.")
    elif permission.scope is ServiceScope.RUN and not caller.may_everywhere(permission.right):
        service = await service_of_run(container, params["run_id"])
        _check_service(caller, permission, service, f"There is no run {params['run_id']}.")
    if permission.by_another:
        await _check_not_requester(container, caller, params["run_id"])


def _check_service(caller: Caller, permission: Permission, service: str | None, not_found: str) -> None:
    assert permission.right is not None
    if not caller.readable(service):
        raise NotFound(not_found, expected="A service, change or run that the lists show.")
    if not caller.may(permission.right, service):
        raise forbidden(caller, permission.right, service)


async def _check_not_requester(container: Any, caller: Caller, run_id: str) -> None:
    """Raise `Forbidden` if the caller requested the run: an approval needs a second person."""
    if await requester_of(container, run_id) == caller.person:
        raise Forbidden(
            f"{caller.person} requested run {run_id} and cannot approve it.",
            expected="An approval by another person, or by a token that another person created.",
        )


def _unknown_request(request: Request, path: str) -> SlipwayError:
    line, methods = f"{request.method} {path}", ", ".join(methods_of(path))
    if methods:
        return MethodNotAllowed(
            f"{line}: Method Not Allowed.", expected=f"One of the methods: {methods}.", headers={"Allow": methods}
        )
    return NotFound(f"{line}: Not Found.", expected="A request that /openapi.json describes.")


def _refusal(request: Request, error: SlipwayError) -> Response:
    """Return the refusal as a problem response. Page requests without a session are redirected to the sign-in page."""
    status = status_of(error)
    if status != 401 or not is_page(request.scope):
        return problem(request, status, error)
    path = path_of(request.scope)
    query = f"?{request.url.query}" if request.url.query else ""
    sign_in_url = link(request, "/pages/sign-in")
    if request.method in ("GET", "HEAD") and path != "/":
        sign_in_url += f"?next={quote(path + query, safe='/')}"
    if request.headers.get("hx-request"):  # htmx loads only a part of the page: redirect the whole page
        return Response(status_code=401, headers={"HX-Redirect": sign_in_url})
    return RedirectResponse(sign_in_url, status_code=303, headers={"Cache-Control": "no-store"})


class _RequestLog:
    """The access log records of one request: the start, written before the response is sent, and then the outcome."""

    def __init__(self, request: Request, send: Send) -> None:
        self._request = request
        self._send = send
        self._finished = False
        self._started: asyncio.Future[str] | None = None
        self.caller: Caller | None = None
        self.permission: Permission | None = None

    def start(self) -> None:
        """Record in the background that an unsafe request has started."""
        if self.caller is not None and self._request.method not in SAFE:
            self._started = asyncio.ensure_future(self._record_start(self.caller))

    async def _record_start(self, caller: Caller) -> str:
        """Return the id of the start record; empty if the log cannot be written, which `_record_outcome` then reports."""
        what, on = self._action, path_of(self._request.scope)
        try:
            return await self._access.record_start(self._request, what, on, who=caller.person, how=caller.log_label)
        except SlipwayError:
            return ""

    async def send(self, message: Message) -> None:
        """Forward a message; the start of a response waits until the log is written."""
        if message["type"] == "http.response.start":
            status = int(message["status"])
            if status == 403 or self._request.method not in SAFE:
                location = next((value for name, value in message["headers"] if name.lower() == b"location"), b"")
                await self.finish(_outcome(status), location.decode("latin-1"))
        await self._send(message)

    async def finish(self, outcome: str, location: str = "") -> None:
        """Record the outcome once. If the start is recorded, write it in the background."""
        if self._finished or self.caller is None or (self._request.method in SAFE and "403" not in outcome):
            return
        self._finished = True
        started = await self._started if self._started is not None else ""
        writing = self._record_outcome(self.caller, outcome, location, started)
        if started:
            self._access.write_later(writing)
        else:
            await writing

    async def _record_outcome(self, caller: Caller, outcome: str, location: str, started: str) -> None:
        """Write the entry. If this fails, log the entry as an error: the action itself is not undone."""
        detail = self._request.scope.get("slipway.log_detail") or (location if "/runs/" in location else "")
        on = f"{path_of(self._request.scope)} → {detail}" if detail else path_of(self._request.scope)
        who: dict[str, Any] = {"who": caller.person, "how": caller.log_label}
        try:
            await self._access.record(self._request, self._action, on, outcome, started=started, **who)
        except SlipwayError as error:
            _logger.error(
                "Could not write to the access log: %s did %r on %r (%s): %s",
                who["who"],
                self._action,
                on,
                outcome,
                error.failed,
            )

    @property
    def _access(self) -> Access:
        access: Access = self._request.app.state.access
        return access

    @property
    def _action(self) -> str:
        return self.permission.action if self.permission else f"{self._request.method} of an unknown path"


def _outcome(status: int) -> str:
    word = "done" if status < 400 else "refused" if status in (401, 403, 429) else "failed"
    return f"{word}: {status}"
