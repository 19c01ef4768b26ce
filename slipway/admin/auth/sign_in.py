"""Signing in, choosing a password by a one-time link, signing out: what is done, whatever the page looks like."""

from __future__ import annotations

import asyncio
import math

from starlette.requests import Request

from slipway.accounts.passwords import LONGEST, check_password, fits, hash_of, is_outdated
from slipway.admin.auth.lookup import Access
from slipway.admin.problems import NotFound, NotSignedIn, Refusal


class TooManyTries(Refusal):
    """Signing in failed too often; wait."""

    status = 429


async def sign_in(access: Access, request: Request, name: str, password: str) -> str:
    """The key of a new session. Raises NotSignedIn in the same words for every reason, and TooManyTries."""
    name, address = name.strip().lower(), access.proxy.address_of(request.scope)
    wait = await asyncio.to_thread(access.tries.begin, name, address)
    if wait > 0:
        await access.note(request, "sign in", "", f"locked out for {math.ceil(wait)} s", who=await _known(access, name))
        raise TooManyTries(
            "There were too many tries that failed.",
            expected=f"A pause of {math.ceil(wait)} s, or a new one-time link from an admin.",
            headers={"Retry-After": str(math.ceil(wait))},
        )
    kept = await asyncio.to_thread(access.accounts.password_of, name)
    if not await access.hashing.run(lambda: fits(kept, password[: LONGEST + 1])):
        await access.note(request, "sign in", "", "refused: 401", who=await _known(access, name))
        raise NotSignedIn("The name or the password is wrong.", expected="The name and the password of an account.")
    await asyncio.to_thread(access.tries.succeeded, name, address)
    if kept is not None and is_outdated(kept):
        hashed = await access.hashing.run(lambda: hash_of(password))
        await asyncio.to_thread(access.accounts.renew_hash, name, hashed)
    key = await asyncio.to_thread(access.sessions.begin, name)
    await access.note(request, "sign in", "", "done: 303", who=name, how="session")
    return key


async def choose_password(access: Access, request: Request, link: str, password: str) -> str:
    """Set the password of the link's account and use the link up; the key of a new session.

    Raises NotFound for a link that is not good (any more), InvalidInput for a password that is not accepted.
    """
    name = await link_is_for(access, link)
    check_password(password, name)
    hashed = await access.hashing.run(lambda: hash_of(password))
    if await asyncio.to_thread(access.links.use, link) is None:
        raise _not_good()
    await asyncio.to_thread(access.accounts.set_password, name, hashed)
    await asyncio.to_thread(access.tries.forget, name)
    access.forget()
    key = await asyncio.to_thread(access.sessions.begin, name)
    await access.note(request, "choose a password", "", "done: 303", who=name, how="one-time link")
    return key


async def link_is_for(access: Access, link: str) -> str:
    """Whose password a link lets one choose. Raises NotFound."""
    name = await asyncio.to_thread(access.links.account_of, link)
    if name is None:
        raise _not_good()
    return name


async def sign_out(access: Access, key: str) -> None:
    """End a session."""
    await asyncio.to_thread(access.sessions.end, key)
    access.forget()


def own_path(wanted: str) -> str:
    """Where to go after the sign-in: one of our own paths, never another site's."""
    good = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if good and len(wanted) <= 500 else "/"


def _not_good() -> NotFound:
    return NotFound(
        "This link is not good (any more).",
        expected="A link that was not used yet, within its time; an admin makes new ones.",
    )


async def _known(access: Access, name: str) -> str:
    """The name for the log, if there is such an account: people type their password where the name belongs."""
    accounts = await asyncio.to_thread(access.accounts.all)
    return name if any(account.name == name for account in accounts) else "an unknown name"
