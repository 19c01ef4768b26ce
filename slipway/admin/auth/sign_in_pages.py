"""The pages for strangers: sign in, choose a password by a one-time link; and the way out."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from slipway.accounts.passwords import SHORTEST
from slipway.admin.auth.caller import CallerDep
from slipway.admin.auth.cookies import end_session, session_key, set_session
from slipway.admin.auth.lookup import Access
from slipway.admin.auth.sign_in import choose_password, link_is_for, own_path, sign_in, sign_out
from slipway.admin.problems import Refusal
from slipway.admin.templating import link, page
from slipway.core.errors import InvalidInput

router = APIRouter(include_in_schema=False)
Written = Annotated[str, Form(max_length=1_000)]


def access_of(request: Request) -> Access:
    """Accounts, sessions, tokens and the log of the running app."""
    found: Access = request.app.state.access
    return found


@router.get("/pages/sign-in")
async def sign_in_page(request: Request, next: str = "/") -> Response:
    """The form; where nobody can sign in yet, it says how to begin."""
    begun = await asyncio.to_thread(access_of(request).accounts.somebody_can_sign_in)
    return page(request, "sign_in.html", next=own_path(next), begun=begun, account="", error=None)


@router.post("/pages/sign-in")
async def signing_in(request: Request, name: Written, password: Written, next: Written = "/") -> Response:
    """Begin a new session, whatever session there was, and go where the person wanted to go."""
    try:
        key = await sign_in(access_of(request), request, name, password)
    except Refusal as error:
        values = {"next": own_path(next), "begun": True, "account": name[:100], "error": error}
        refused = page(request, "sign_in.html", status=error.status, **values)
        refused.headers.update(error.headers)
        return refused
    return _begun(request, key, own_path(next))


@router.get("/pages/link/{key}")
async def link_page(request: Request, key: str) -> Response:
    """The form for a new password; looking at it does not use the link up."""
    name = await link_is_for(access_of(request), key)
    return page(request, "link.html", account=name, shortest=SHORTEST, error=None)


@router.post("/pages/link/{key}")
async def choosing(request: Request, key: str, password: Written, again: Written) -> Response:
    """Set the password, end the sessions there were, and begin a new one."""
    access = access_of(request)
    try:
        if password != again:
            raise InvalidInput("The two passwords differ.", expected="The same password twice.")
        session = await choose_password(access, request, key, password)
    except InvalidInput as error:
        name = await link_is_for(access, key)
        return page(request, "link.html", status=422, account=name, shortest=SHORTEST, error=error)
    return _begun(request, session, "/")


@router.post("/pages/sign-out")
async def signing_out(request: Request, caller: CallerDep) -> Response:
    """End the session."""
    await sign_out(access_of(request), session_key(request))
    gone = RedirectResponse(link(request, "/pages/sign-in"), status_code=303)
    end_session(request, gone)
    return gone


def _begun(request: Request, key: str, where: str) -> Response:
    answer = RedirectResponse(link(request, where), status_code=303, headers={"Cache-Control": "no-store"})
    set_session(request, answer, key)
    return answer
