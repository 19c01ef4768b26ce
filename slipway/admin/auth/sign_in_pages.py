"""The pages without sign-in: the sign-in page and the page of a one-time link. Also the sign-out."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from slipway.accounts.passwords import MIN_LENGTH
from slipway.admin.auth.caller import CallerDep
from slipway.admin.auth.cookies import end_session, session_key, set_session
from slipway.admin.auth.lookup import Access
from slipway.admin.auth.sign_in import account_of_link, choose_password, local_path, sign_in, sign_out
from slipway.admin.problems import Refusal
from slipway.admin.templating import link, page
from slipway.core.errors import InvalidInput

router = APIRouter(include_in_schema=False)
FormText = Annotated[str, Form(max_length=1_000)]


def access_of(request: Request) -> Access:
    """Return the `Access` of the running app."""
    access: Access = request.app.state.access
    return access


@router.get("/pages/sign-in")
async def sign_in_page(request: Request, next: str = "/") -> Response:
    """Show the sign-in form. If nobody can sign in yet, show how to create the first account."""
    can_sign_in = await asyncio.to_thread(access_of(request).accounts.anyone_can_sign_in)
    return page(request, "sign_in.html", next=local_path(next), can_sign_in=can_sign_in, account="", error=None)


@router.post("/pages/sign-in")
async def submit_sign_in(request: Request, name: FormText, password: FormText, next: FormText = "/") -> Response:
    """Start a new session, even if the browser already has one, and redirect to the requested page."""
    try:
        key = await sign_in(access_of(request), request, name, password)
    except Refusal as error:
        values = {"next": local_path(next), "can_sign_in": True, "account": name[:100], "error": error}
        refused = page(request, "sign_in.html", status=error.status, **values)
        refused.headers.update(error.headers)
        return refused
    return _start_session(request, key, local_path(next))


@router.get("/pages/link/{key}")
async def link_page(request: Request, key: str) -> Response:
    """Show the form for a new password. This does not use the link up."""
    name = await account_of_link(access_of(request), key)
    return page(request, "link.html", account=name, min_length=MIN_LENGTH, error=None)


@router.post("/pages/link/{key}")
async def submit_password(request: Request, key: str, password: FormText, again: FormText) -> Response:
    """Set the password, end the existing sessions of the account, and start a new one."""
    access = access_of(request)
    try:
        if password != again:
            raise InvalidInput("The two passwords differ.", expected="The same password in both fields.")
        session = await choose_password(access, request, key, password)
    except InvalidInput as error:
        name = await account_of_link(access, key)
        return page(request, "link.html", status=422, account=name, min_length=MIN_LENGTH, error=error)
    return _start_session(request, session, "/")


@router.post("/pages/sign-out")
async def submit_sign_out(request: Request, caller: CallerDep) -> Response:
    """End the session."""
    await sign_out(access_of(request), session_key(request))
    response = RedirectResponse(link(request, "/pages/sign-in"), status_code=303)
    end_session(request, response)
    return response


def _start_session(request: Request, key: str, path: str) -> Response:
    response = RedirectResponse(link(request, path), status_code=303, headers={"Cache-Control": "no-store"})
    set_session(request, response, key)
    return response
