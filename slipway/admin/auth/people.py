"""People, tokens and the log, for admins: the access page with its forms, and the log as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from slipway.accounts.grants import RIGHTS, Grant
from slipway.admin import schemas
from slipway.admin.auth.caller import CallerDep, about
from slipway.admin.auth.lookup import Access
from slipway.admin.auth.sign_in_pages import access_of
from slipway.admin.problems import Conflict
from slipway.admin.services import ServicesDep
from slipway.admin.templating import link, page
from slipway.config.service import load_services
from slipway.core.errors import InvalidInput
from slipway.core.toml_files import parse

SHOWN = 50
router = APIRouter()
Name = Annotated[str, Form(max_length=100)]
Services = Annotated[list[str] | None, Form()]
EVERY = "*"  # the choice "all services" in a form


@router.get("/access/log", response_model=schemas.AccessLogPage, responses=schemas.READING, tags=["access"])
async def log(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> dict[str, Any]:
    """What was done, the newest first: who, how, from where, what, on what, and what came of it."""
    entries = await access_of(request).newest(limit, cursor)
    more = entries[-1].id if len(entries) == limit else None
    return {"entries": [entry.model_dump(mode="json") for entry in entries], "next": more}


@router.get("/pages/access", include_in_schema=False)
async def access_page(
    request: Request, container: ServicesDep, cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None
) -> Response:
    """Everybody with their role, every token, and the log."""
    return await _page(request, container, cursor=cursor)


@router.post("/pages/access/people", include_in_schema=False)
async def invite(
    request: Request, container: ServicesDep, caller: CallerDep, name: Name, role: Name, services: Services = None
) -> Response:
    """A new account, and its one-time link, which is shown once."""
    access, grant, named = access_of(request), _grant(role, services), name.strip().lower()
    about(request, f"{named}: {grant.words}")

    def make() -> str:
        access.accounts.add(named, grant, by=caller.person)
        return access.links.make(named)

    return await _shown_once(request, container, make, f"one-time link for {named}", below="/pages/link/")


@router.post("/pages/access/people/{name}", include_in_schema=False)
async def change_account(
    request: Request,
    container: ServicesDep,
    caller: CallerDep,
    name: str,
    do: Name,
    role: Name = "",
    services: Services = None,
) -> Response:
    """Give an account another role or a new one-time link, disable or enable it. Nobody does it to themselves."""
    access = access_of(request)
    if name == caller.person:
        raise Conflict("Nobody changes their own account here.", expected="Another admin, so that one is always left.")
    grant = _grant(role, services) if do == "role" else None
    about(request, f"{do}: {grant.words}" if grant else do)
    if do == "link":
        return await _shown_once(
            request, container, lambda: _link(access, name), f"one-time link for {name}", below="/pages/link/"
        )
    what: dict[str, Callable[[], None]] = {
        "disable": lambda: access.accounts.disable(name),
        "enable": lambda: access.accounts.enable(name),
    }
    if grant is not None:
        what["role"] = partial(access.accounts.change, name, grant)
    if do not in what:
        raise InvalidInput(f"There is no change {do!r} of an account.", expected="role, link, disable or enable.")
    return await _done(request, what[do])


@router.post("/pages/access/tokens", include_in_schema=False)
async def make_token(
    request: Request,
    container: ServicesDep,
    caller: CallerDep,
    name: Name,
    role: Name,
    days: Annotated[int, Form(ge=1, le=366)],
    services: Services = None,
) -> Response:
    """A new token, which is shown once; it acts in the name of who made it."""
    tokens, grant = access_of(request).tokens, _grant(role, services)
    about(request, f"{name}: {grant.words}, {days} days")

    def make() -> str:
        return tokens.make(name, grant, timedelta(days=days), account=caller.person)[0]

    return await _shown_once(request, container, make, f"token {name}")


@router.post("/pages/access/tokens/{name}/revoke", include_in_schema=False)
async def revoke_token(request: Request, name: str) -> Response:
    """End a token."""
    return await _done(request, lambda: access_of(request).tokens.revoke(name))


def _link(access: Access, name: str) -> str:
    if access.accounts.find(name).disabled_at is not None:
        raise InvalidInput(f"The account {name!r} is disabled.", expected="One that is enabled.")
    access.tries.forget(name)
    return access.links.make(name)


def _grant(role: str, services: list[str] | None) -> Grant:
    """The grant that a form asks for. Raises InvalidInput; without a choice of services it is no grant."""
    if not services:
        raise InvalidInput("No service was chosen.", expected="All services, or one at least.")
    return parse(Grant, {"role": role, "services": None if EVERY in services else services}, where="the grant")


async def _done(request: Request, change: Callable[[], None]) -> Response:
    await asyncio.to_thread(change)
    access_of(request).forget()
    return RedirectResponse(link(request, "/pages/access"), status_code=303)


async def _shown_once(
    request: Request, container: ServicesDep, make: Callable[[], str], what: str, *, below: str = ""
) -> Response:
    """Make a secret, and draw it into this one answer."""
    secret = await asyncio.to_thread(make)
    access_of(request).forget()
    where = f"{request.url.scheme}://{request.url.netloc}{link(request, below)}" if below else ""
    return await _page(request, container, secret=where + secret, secret_is=what)


async def _page(
    request: Request, container: ServicesDep, *, cursor: int | None = None, secret: str = "", secret_is: str = ""
) -> Response:
    access = access_of(request)
    people, tokens, entries, services = await asyncio.gather(
        asyncio.to_thread(access.accounts.all),
        asyncio.to_thread(access.tokens.all),
        access.newest(SHOWN, cursor),
        asyncio.to_thread(load_services, container.settings.config),
    )
    shown: dict[str, Any] = {
        "people": people,
        "tokens": tokens,
        "entries": entries,
        "more": entries[-1].id if len(entries) == SHOWN else None,
        "services": list(services),
        "roles": list(RIGHTS),
        "secret": secret,
        "secret_is": secret_is,
    }
    return page(request, "access.html", **shown)
