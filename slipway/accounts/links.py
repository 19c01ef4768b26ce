"""One-time links: whoever has one chooses the password of its account, once, before it expires."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update

from slipway.accounts.grants import Clock, utc_now
from slipway.accounts.keys import digest_of, new_key
from slipway.runs.account_tables import accounts, links
from slipway.runs.store import Store

LASTS = timedelta(hours=24)


class Links:
    """The links of all accounts. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def make(self, account: str, lasts: timedelta = LASTS) -> str:
        """The key of a new link; an older link of the account ends."""
        key = new_key()
        with self._store.transaction() as connection:
            connection.execute(delete(links).where(links.c.account == account))
            row = {"digest": digest_of(key), "account": account, "expires_at": self._now() + lasts}
            connection.execute(links.insert().values(**row))
        return key

    def account_of(self, key: str) -> str | None:
        """For whom a link is, as long as it is good; looking at it does not use it up."""
        wanted = select(links.c.account).join(accounts, accounts.c.name == links.c.account)
        good = accounts.c.disabled_at.is_(None), *self._good(key)
        with self._store.transaction() as connection:
            found: str | None = connection.execute(wanted.where(*good)).scalar()
        return found

    def use(self, key: str) -> str | None:
        """Use a link up: for whom it was, or None when it is not good (any more). Of two at once one gets it."""
        used = update(links).where(*self._good(key)).values(used_at=self._now()).returning(links.c.account)
        with self._store.transaction() as connection:
            found: str | None = connection.execute(used).scalar()
        return found

    def _good(self, key: str) -> tuple[ColumnElement[bool], ...]:
        return links.c.digest == digest_of(key), links.c.used_at.is_(None), links.c.expires_at > self._now()
