"""Sign in, choose a password with a one-time link, and sign out. The pages are in `sign_in_pages`."""

from __future__ import annotations

import asyncio
import math

from starlette.requests import Request

from slipway.accounts.passwords import MAX_LENGTH, check_password, hash_password, needs_rehash, verify_password
from slipway.admin.auth.lookup import Access
from slipway.admin.problems import NotFound, NotSignedIn, Refusal


class TooManySignIns(Refusal):
    """Too many sign-ins failed."""

    status = 429


async def sign_in(access: Access, request: Request, name: str, password: str) -> str:
    """Sign in and return the key of a new session.

    Raises `NotSignedIn` with the same message for every reason, and `TooManySignIns`.
    """
    name, address = name.strip().lower(), access.proxy.address_of(request.scope)
    wait = await asyncio.to_thread(access.throttle.register, name, address)
    if wait > 0:
        await access.record(
            request, "sign in", "", f"locked out for {math.ceil(wait)} s", who=await _name_for_log(access, name)
        )
        raise TooManySignIns(
            "There were too many failed sign-ins.",
            expected=f"A wait of {math.ceil(wait)} s, or a new one-time link from an admin.",
            headers={"Retry-After": str(math.ceil(wait))},
        )
    hashed = await asyncio.to_thread(access.accounts.password_hash, name)
    if not await access.hashing.run(lambda: verify_password(hashed, password[: MAX_LENGTH + 1])):
        await access.record(request, "sign in", "", "refused: 401", who=await _name_for_log(access, name))
        raise NotSignedIn("The name or the password is wrong.", expected="The name and the password of an account.")
    await asyncio.to_thread(access.throttle.record_success, name, address)
    if hashed is not None and needs_rehash(hashed):
        rehashed = await access.hashing.run(lambda: hash_password(password))
        await asyncio.to_thread(access.accounts.renew_hash, name, rehashed)
    key = await asyncio.to_thread(access.sessions.begin, name)
    await access.record(request, "sign in", "", "done: 303", who=name, how="session")
    return key


async def choose_password(access: Access, request: Request, link: str, password: str) -> str:
    """Set the password of the link's account, use the link up, and return the key of a new session.

    Raises `NotFound` if the link is not valid, and `InvalidInput` if the password is not accepted.
    """
    name = await account_of_link(access, link)
    check_password(password, name)
    hashed = await access.hashing.run(lambda: hash_password(password))
    if await asyncio.to_thread(access.links.use, link) is None:
        raise _invalid_link()
    await asyncio.to_thread(access.accounts.set_password, name, hashed)
    await asyncio.to_thread(access.throttle.reset, name)
    access.clear_cache()
    key = await asyncio.to_thread(access.sessions.begin, name)
    await access.record(request, "choose a password", "", "done: 303", who=name, how="one-time link")
    return key


async def account_of_link(access: Access, link: str) -> str:
    """Return the account of a one-time link. Raises `NotFound` if the link is not valid."""
    name = await asyncio.to_thread(access.links.account_of, link)
    if name is None:
        raise _invalid_link()
    return name


async def sign_out(access: Access, key: str) -> None:
    """End a session."""
    await asyncio.to_thread(access.sessions.end, key)
    access.clear_cache()


def local_path(path: str) -> str:
    """Return the path to open after the sign-in if it is a path of this service, else `/`. Never another site."""
    is_local = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_local and len(path) <= 500 else "/"


def _invalid_link() -> NotFound:
    return NotFound(
        "This link is not valid.",
        expected="A link that is unused and has not expired. An admin can create a new one.",
    )


async def _name_for_log(access: Access, name: str) -> str:
    """Return the name if an account has it, else `an unknown name`: people type passwords into the name field."""
    accounts = await asyncio.to_thread(access.accounts.all)
    return name if any(account.name == name for account in accounts) else "an unknown name"
