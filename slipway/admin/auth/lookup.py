"""Who asks: looked up in the store, for a read at most a second old, for everything else afresh."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request

from slipway.accounts.accounts import Accounts
from slipway.accounts.failed_sign_ins import SignInThrottle
from slipway.accounts.grants import AccessLogEntry, Account, Clock, utc_now
from slipway.accounts.links import Links
from slipway.accounts.log import AccessLog
from slipway.accounts.sessions import Sessions
from slipway.accounts.tokens import Tokens
from slipway.admin.auth.caller import Caller
from slipway.admin.auth.cookies import session_key
from slipway.admin.auth.hashing import Hashing
from slipway.admin.auth.proxy import Named, Proxy
from slipway.admin.problems import NotSignedIn
from slipway.core.errors import InvalidInput
from slipway.core.settings import Settings
from slipway.runs.store import Store

FRESH_S = 1.0  # so long a read may be answered to somebody whose rights another process has just ended
KNOWN = 2_000  # callers kept at most


class Access:
    """Accounts, sessions, tokens and the log of one store, and who asks."""

    def __init__(self, store: Store, settings: Settings, clock: Clock = utc_now) -> None:
        self.accounts = Accounts(store, clock)
        self.links = Links(store, clock)
        self.sessions = Sessions(store, clock)
        self.tokens = Tokens(store, clock)
        self.tries = SignInThrottle(store, clock)
        self.log = AccessLog(store)
        self.proxy = Proxy(settings)
        self.hashing = Hashing()
        self._known: dict[str, tuple[float, Caller | None]] = {}
        self._renewing: dict[str, asyncio.Future[Caller | None]] = {}
        self._changes = 0
        self._noting: set[asyncio.Task[None]] = set()

    async def caller(self, request: Request, *, fresh: bool) -> Caller | None:
        """Who asks, or None for a stranger. Raises NotSignedIn for a token or a name that is not good."""
        shown = request.headers.get("authorization")
        if shown is not None:
            return await self._by_token(shown, fresh)
        named = self.proxy.named(request.scope)
        if named is not None:
            return await self._by_proxy(named, fresh)
        key = session_key(request)
        return await self._looked_up(f"session {key}", lambda: self._by_session(key), fresh) if key else None

    def forget(self) -> None:
        """What was known of callers is looked up anew; after every change of rights through this process."""
        self._known.clear()
        self._changes += 1

    async def begin(self, request: Request, what: str, on: str, *, who: str, how: str) -> str:
        """Write into the log that something begins; the id is for `note`. Raises Unavailable."""
        address = self.proxy.address_of(request.scope)
        return await asyncio.to_thread(self.log.begin, who=who, how=how, address=address, what=what, on=on)

    async def note(
        self, request: Request, what: str, on: str, outcome: str, *, who: str = "", how: str = "", begun: str = ""
    ) -> None:
        """Write into the log. Raises Unavailable."""
        address = self.proxy.address_of(request.scope)
        told: dict[str, Any] = {"address": address, "what": what, "on": on, "outcome": outcome, "begun": begun}
        await asyncio.to_thread(self.log.add, who=who or "a stranger", how=how or "none", **told)

    def later(self, noting: Coroutine[Any, Any, None]) -> None:
        """Have something noted that nobody needs to wait for."""
        task = asyncio.ensure_future(noting)
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def newest(self, limit: int, before: int | None) -> list[AccessLogEntry]:
        """The log as `AccessLog.newest` reads it, with what this process has yet to note."""
        await self.written()
        return await asyncio.to_thread(self.log.newest, limit, before)

    async def written(self) -> None:
        """Return when what was to be noted later has been."""
        await asyncio.gather(*self._noting, return_exceptions=True)

    async def _by_token(self, shown: str, fresh: bool) -> Caller:
        scheme, _, key = shown.partition(" ")
        found = None
        if scheme.lower() == "bearer" and key:
            found = await self._looked_up(f"token {key}", lambda: self._of_token(key.strip()), fresh)
        if found is None:
            raise NotSignedIn(
                "The token is not good (any more).",
                expected="One as `slipway access token` makes them, that has neither expired nor been revoked.",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return found

    async def _by_proxy(self, named: Named, fresh: bool) -> Caller:
        found = await self._looked_up(f"proxy {named}", lambda: self._of_named(named), fresh)
        if found is None:
            raise NotSignedIn(
                f"The proxy names {named.name}, who may do nothing here.",
                expected="An account of that name, or a group.",
            )
        return found

    async def _looked_up(self, what: str, look: Callable[[], Caller | None], fresh: bool) -> Caller | None:
        slot = hashlib.sha256(what.encode()).hexdigest()  # keys stay out of what is kept
        now = time.monotonic()
        at, found = self._known.get(slot, (0.0, None))
        if not fresh and found is not None and now - at < FRESH_S:
            if now - at > FRESH_S / 2 and slot not in self._renewing:  # who reads all the time never waits
                self._renewing[slot] = asyncio.ensure_future(self._look(slot, look))
                self._renewing[slot].add_done_callback(lambda done: self._renewed(slot, done))
            return found
        return await self._look(slot, look)

    async def _look(self, slot: str, look: Callable[[], Caller | None]) -> Caller | None:
        now, changes = time.monotonic(), self._changes
        found = await asyncio.to_thread(look)
        if len(self._known) >= KNOWN:
            self._known.clear()
        if changes == self._changes:  # otherwise it may be from before the change
            self._known[slot] = now, found
        return found

    def _renewed(self, slot: str, done: asyncio.Future[Caller | None]) -> None:
        del self._renewing[slot]
        if not done.cancelled():
            done.exception()  # who asks next meets it

    def _of_token(self, key: str) -> Caller | None:
        token = self.tokens.find(key)
        return None if token is None else Caller(token.person, "token", (token.grant,), token=token.name)

    def _by_session(self, key: str) -> Caller | None:
        account = self.sessions.account_of(key)
        return None if account is None else Caller(account.name, "session", (account.grant,), csrf=csrf_of(key))

    def _of_named(self, named: Named) -> Caller | None:
        account = self._account(named.name)
        if account is not None and account.disabled_at is not None:
            return None
        grants = named.grants if named.grants is not None else (account.grant,) if account else ()
        return Caller(named.name, "proxy", grants) if grants else None

    def _account(self, name: str) -> Account | None:
        try:
            return self.accounts.find(name)
        except InvalidInput:
            return None


def csrf_of(key: str) -> str:
    """What the forms of a session carry: it follows from the session's key, and the key does not follow from it."""
    return hashlib.sha256(f"form {key}".encode()).hexdigest()
