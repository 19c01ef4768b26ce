"""Authentication of callers against the store. Reads accept a cached caller for up to 1 s; actions always read the store."""

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
from slipway.admin.auth.proxy import Proxy, ProxyUser
from slipway.admin.problems import NotSignedIn
from slipway.core.errors import InvalidInput
from slipway.core.settings import Settings
from slipway.runs.store import Store

CACHE_S = 1.0  # a read may succeed for this long after another process has removed the caller's rights
MAX_CACHED = 2_000  # callers


class Access:
    """The accounts, links, sessions, tokens and access log of one store, and the authentication of callers."""

    def __init__(self, store: Store, settings: Settings, clock: Clock = utc_now) -> None:
        self.accounts = Accounts(store, clock)
        self.links = Links(store, clock)
        self.sessions = Sessions(store, clock)
        self.tokens = Tokens(store, clock)
        self.throttle = SignInThrottle(store, clock)
        self.log = AccessLog(store)
        self.proxy = Proxy(settings)
        self.hashing = Hashing()
        self._cache: dict[str, tuple[float, Caller | None]] = {}
        self._refreshing: dict[str, asyncio.Future[Caller | None]] = {}
        self._generation = 0
        self._writing: set[asyncio.Task[None]] = set()

    async def caller(self, request: Request, *, fresh: bool) -> Caller | None:
        """Return the caller; None without credentials. Raises `NotSignedIn` for an invalid token or proxy user."""
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return await self._by_token(authorization, fresh)
        user = self.proxy.user(request.scope)
        if user is not None:
            return await self._by_proxy(user, fresh)
        key = session_key(request)
        return await self._find(f"session {key}", lambda: self._read_session(key), fresh) if key else None

    def clear_cache(self) -> None:
        """Clear the cached callers. Every change of rights through this process calls this."""
        self._cache.clear()
        self._generation += 1

    async def record_start(self, request: Request, what: str, on: str, *, who: str, how: str) -> str:
        """Record in the access log that an action starts. Return the id for `record`. Raises `Unavailable`."""
        address = self.proxy.address_of(request.scope)
        return await asyncio.to_thread(self.log.start, who=who, how=how, address=address, what=what, on=on)

    async def record(
        self, request: Request, what: str, on: str, outcome: str, *, who: str = "", how: str = "", started: str = ""
    ) -> None:
        """Write an entry to the access log. Raises `Unavailable`."""
        address = self.proxy.address_of(request.scope)
        fields: dict[str, Any] = {"address": address, "what": what, "on": on, "outcome": outcome, "started": started}
        await asyncio.to_thread(self.log.add, who=who or "a stranger", how=how or "none", **fields)

    def write_later(self, writing: Coroutine[Any, Any, None]) -> None:
        """Write a log entry in the background."""
        task = asyncio.ensure_future(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def newest(self, limit: int, before: int | None) -> list[AccessLogEntry]:
        """Return entries as `AccessLog.newest` does, after all background writes of this process."""
        await self.wait_written()
        return await asyncio.to_thread(self.log.newest, limit, before)

    async def wait_written(self) -> None:
        """Wait until all background writes to the log have finished."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _by_token(self, authorization: str, fresh: bool) -> Caller:
        scheme, _, key = authorization.partition(" ")
        caller = None
        if scheme.lower() == "bearer" and key:
            caller = await self._find(f"token {key}", lambda: self._read_token(key.strip()), fresh)
        if caller is None:
            raise NotSignedIn(
                "The token is not valid.",
                expected="A token from `slipway access token` that is neither expired nor revoked.",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return caller

    async def _by_proxy(self, user: ProxyUser, fresh: bool) -> Caller:
        caller = await self._find(f"proxy {user}", lambda: self._read_proxy_user(user), fresh)
        if caller is None:
            raise NotSignedIn(
                f"The proxy reports the user {user.name}, who has no rights here.",
                expected="An account of that name that is not disabled, or a group with a role.",
            )
        return caller

    async def _find(self, credential: str, read: Callable[[], Caller | None], fresh: bool) -> Caller | None:
        slot = hashlib.sha256(credential.encode()).hexdigest()  # so that the cache contains no keys
        now = time.monotonic()
        read_at, cached = self._cache.get(slot, (0.0, None))
        if not fresh and cached is not None and now - read_at < CACHE_S:
            if now - read_at > CACHE_S / 2 and slot not in self._refreshing:  # so that a steady reader never waits
                self._refreshing[slot] = asyncio.ensure_future(self._read(slot, read))
                self._refreshing[slot].add_done_callback(lambda done: self._refreshed(slot, done))
            return cached
        return await self._read(slot, read)

    async def _read(self, slot: str, read: Callable[[], Caller | None]) -> Caller | None:
        now, generation = time.monotonic(), self._generation
        caller = await asyncio.to_thread(read)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        if generation == self._generation:  # otherwise the caller may be from before a change of rights
            self._cache[slot] = now, caller
        return caller

    def _refreshed(self, slot: str, done: asyncio.Future[Caller | None]) -> None:
        del self._refreshing[slot]
        if not done.cancelled():
            done.exception()  # ignored here: the caller's next request reads the store and raises the error

    def _read_token(self, key: str) -> Caller | None:
        token = self.tokens.find(key)
        return None if token is None else Caller(token.person, "token", (token.grant,), token=token.name)

    def _read_session(self, key: str) -> Caller | None:
        account = self.sessions.account_of(key)
        return None if account is None else Caller(account.name, "session", (account.grant,), csrf=csrf_of(key))

    def _read_proxy_user(self, user: ProxyUser) -> Caller | None:
        account = self._account(user.name)
        if account is not None and account.disabled_at is not None:
            return None
        grants = user.grants if user.grants is not None else (account.grant,) if account else ()
        return Caller(user.name, "proxy", grants) if grants else None

    def _account(self, name: str) -> Account | None:
        try:
            return self.accounts.find(name)
        except InvalidInput:
            return None


def csrf_of(key: str) -> str:
    """Return the CSRF token of a session. It is derived from the session key; the key cannot be derived from it."""
    return hashlib.sha256(f"form {key}".encode()).hexdigest()
