"""Sessions of signed-in people. Only the browser has the random key; the store saves its digest."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update

from slipway.accounts.accounts import account_of
from slipway.accounts.grants import Account, Clock, utc_now
from slipway.accounts.keys import digest_of, new_key
from slipway.runs.account_tables import accounts, sessions
from slipway.runs.store import Store

IDLE_TIMEOUT, LIFETIME = timedelta(hours=2), timedelta(hours=12)
SEEN_UPDATE_INTERVAL = timedelta(minutes=1)  # limits writes: a live page sends a request every 2 s


class Sessions:
    """All sessions. Every method raises `Unavailable` if the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def begin(self, account: str) -> str:
        """Start a session and return its new key. Delete sessions that have ended."""
        key, now = new_key(), self._now()
        ended = (sessions.c.began_at < now - LIFETIME) | (sessions.c.seen_at < now - IDLE_TIMEOUT)
        row = {"digest": digest_of(key), "account": account, "began_at": now, "seen_at": now}
        with self._store.transaction() as connection:
            connection.execute(delete(sessions).where(ended))
            connection.execute(sessions.insert().values(**row))
        return key

    def account_of(self, key: str) -> Account | None:
        """Return the account of a session; None if the session has ended or timed out, or the account is disabled."""
        now = self._now()
        has_key = sessions.c.digest == digest_of(key)
        active = (
            has_key,
            sessions.c.began_at > now - LIFETIME,
            sessions.c.seen_at > now - IDLE_TIMEOUT,
            accounts.c.disabled_at.is_(None),
        )
        query = select(accounts, sessions.c.seen_at).join(sessions, sessions.c.account == accounts.c.name)
        with self._store.statement() as connection:
            row = connection.execute(query.where(*active)).mappings().one_or_none()
            if row is not None and row["seen_at"] < now - SEEN_UPDATE_INTERVAL:
                connection.execute(update(sessions).where(has_key).values(seen_at=now))
        return None if row is None else account_of(row)

    def end(self, key: str) -> None:
        """End a session. Safe to repeat."""
        with self._store.transaction() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest_of(key)))
