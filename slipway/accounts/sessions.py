"""Sessions: who is signed in, by the digest of a random key that only the person's browser has."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update

from slipway.accounts.accounts import account_of
from slipway.accounts.grants import Account, Clock, utc_now
from slipway.accounts.keys import digest_of, new_key
from slipway.runs.account_tables import accounts, sessions
from slipway.runs.store import Store

IDLE, LASTS = timedelta(hours=2), timedelta(hours=12)
NOTED_AFTER = timedelta(minutes=1)  # so that a page that asks every two seconds does not write every two seconds


class Sessions:
    """The sessions of all people. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def begin(self, account: str) -> str:
        """A new session: its key, which nobody knew before. Those that have ended are forgotten."""
        key, now = new_key(), self._now()
        over = (sessions.c.began_at < now - LASTS) | (sessions.c.seen_at < now - IDLE)
        row = {"digest": digest_of(key), "account": account, "began_at": now, "seen_at": now}
        with self._store.transaction() as connection:
            connection.execute(delete(sessions).where(over))
            connection.execute(sessions.insert().values(**row))
        return key

    def account_of(self, key: str) -> Account | None:
        """Whose session it is; None when it has ended, was idle for too long, or its account is disabled."""
        now = self._now()
        mine = sessions.c.digest == digest_of(key)
        alive = (
            mine,
            sessions.c.began_at > now - LASTS,
            sessions.c.seen_at > now - IDLE,
            accounts.c.disabled_at.is_(None),
        )
        wanted = select(accounts, sessions.c.seen_at).join(sessions, sessions.c.account == accounts.c.name)
        with self._store.statement() as connection:
            row = connection.execute(wanted.where(*alive)).mappings().one_or_none()
            if row is not None and row["seen_at"] < now - NOTED_AFTER:
                connection.execute(update(sessions).where(mine).values(seen_at=now))
        return None if row is None else account_of(row)

    def end(self, key: str) -> None:
        """Sign out. Safe to repeat."""
        with self._store.transaction() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest_of(key)))
