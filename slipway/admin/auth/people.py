"""The access page for admins, with accounts, tokens and the access log, and the log as JSON."""

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
from slipway.admin.auth.caller import CallerDep, add_log_detail
from slipway.admin.auth.lookup import Access
from slipway.admin.auth.sign_in_pages import access_of
from slipway.admin.problems import Conflict
from slipway.admin.services import ServicesDep
from slipway.admin.templating import link, page
from slipway.config.service import load_services
from slipway.core.errors import InvalidInput
from slipway.core.toml_files import parse

PAGE_SIZE = 50
router = APIRouter()
Name = Annotated[str, Form(max_length=100)]
Services = Annotated[list[str] | None, Form()]
ALL_SERVICES = "*"  # the option "all services" in a form


@router.get("/access/log", response_model=schemas.AccessLogPage, responses=schemas.READING, tags=["access"])
async def log(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> dict[str, Any]:
    """The access log, newest entries first: who, how, from which address, what, on what, and the outcome."""
    entries = await access_of(request).newest(limit, cursor)
    next_cursor = entries[-1].id if len(entries) == limit else None
    return {"entries": [entry.model_dump(mode="json") for entry in entries], "next": next_cursor}


@router.get("/pages/access", include_in_schema=False)
async def access_page(
    request: Request, container: ServicesDep, cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None
) -> Response:
    """Show all accounts with their roles, all tokens, and the log."""
    return await _page(request, container, cursor=cursor)


@router.post("/pages/access/people", include_in_schema=False)
async def invite(
    request: Request, container: ServicesDep, caller: CallerDep, name: Name, role: Name, services: Services = None
) -> Response:
    """Create an account and show its one-time link once."""
    access, grant, account = access_of(request), _grant(role, services), name.strip().lower()
    add_log_detail(request, f"{account}: {grant.description}")

    def make() -> str:
        access.accounts.add(account, grant, by=caller.person)
        return access.links.make(account)

    return await _show_once(request, container, make, f"one-time link for {account}", below="/pages/link/")


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
    """Change the role of an account, create a one-time link, disable or enable it. Admins cannot change their own account."""
    access = access_of(request)
    if name == caller.person:
        raise Conflict(
            "You cannot change your own account here.",
            expected="A change by another admin, so that an admin always remains.",
        )
    grant = _grant(role, services) if do == "role" else None
    add_log_detail(request, f"{do}: {grant.description}" if grant else do)
    if do == "link":
        return await _show_once(
            request, container, lambda: _new_link(access, name), f"one-time link for {name}", below="/pages/link/"
        )
    changes: dict[str, Callable[[], None]] = {
        "disable": lambda: access.accounts.disable(name),
        "enable": lambda: access.accounts.enable(name),
    }
    if grant is not None:
        changes["role"] = partial(access.accounts.change, name, grant)
    if do not in changes:
        raise InvalidInput(f"There is no account action {do!r}.", expected="One of: role, link, disable, enable.")
    return await _apply(request, changes[do])


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
    """Create a token and show it once. The token acts in the name of the admin who creates it."""
    tokens, grant = access_of(request).tokens, _grant(role, services)
    add_log_detail(request, f"{name}: {grant.description}, {days} days")

    def make() -> str:
        return tokens.make(name, grant, timedelta(days=days), account=caller.person)[0]

    return await _show_once(request, container, make, f"token {name}")


@router.post("/pages/access/tokens/{name}/revoke", include_in_schema=False)
async def revoke_token(request: Request, name: str) -> Response:
    """Revoke a token."""
    return await _apply(request, lambda: access_of(request).tokens.revoke(name))


def _new_link(access: Access, name: str) -> str:
    if access.accounts.find(name).disabled_at is not None:
        raise InvalidInput(f"The account {name!r} is disabled.", expected="An enabled account. Enable it first.")
    access.throttle.reset(name)
    return access.links.make(name)


def _grant(role: str, services: list[str] | None) -> Grant:
    """Return the grant that a form requests. Raises `InvalidInput` if the role is unknown or no service is chosen."""
    if not services:
        raise InvalidInput("No service was chosen.", expected="All services, or at least one service.")
    return parse(Grant, {"role": role, "services": None if ALL_SERVICES in services else services}, where="the grant")


async def _apply(request: Request, change: Callable[[], None]) -> Response:
    await asyncio.to_thread(change)
    access_of(request).clear_cache()
    return RedirectResponse(link(request, "/pages/access"), status_code=303)


async def _show_once(
    request: Request, container: ServicesDep, make: Callable[[], str], label: str, *, below: str = ""
) -> Response:
    """Create a secret and show it in this response only."""
    secret = await asyncio.to_thread(make)
    access_of(request).clear_cache()
    base_url = f"{request.url.scheme}://{request.url.netloc}{link(request, below)}" if below else ""
    return await _page(request, container, secret=base_url + secret, secret_label=label)


async def _page(
    request: Request, container: ServicesDep, *, cursor: int | None = None, secret: str = "", secret_label: str = ""
) -> Response:
    access = access_of(request)
    people, tokens, entries, services = await asyncio.gather(
        asyncio.to_thread(access.accounts.all),
        asyncio.to_thread(access.tokens.all),
        access.newest(PAGE_SIZE, cursor),
        asyncio.to_thread(load_services, container.settings.config),
    )
    values: dict[str, Any] = {
        "people": people,
        "tokens": tokens,
        "entries": entries,
        "next_cursor": entries[-1].id if len(entries) == PAGE_SIZE else None,
        "services": list(services),
        "roles": list(RIGHTS),
        "secret": secret,
        "secret_label": secret_label,
    }
    return page(request, "access.html", **values)
