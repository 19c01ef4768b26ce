"""One-time links. Anyone who has the link can choose the password of its account, once, before the link expires."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update

from slipway.accounts.grants import Clock, utc_now
from slipway.accounts.keys import digest_of, new_key
from slipway.runs.account_tables import accounts, links
from slipway.runs.store import Store

LIFETIME = timedelta(hours=24)


class Links:
    """The links of all accounts. Every method raises `Unavailable` if the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def make(self, account: str, lifetime: timedelta = LIFETIME) -> str:
        """Return the key of a new link, which replaces an older link of the account."""
        key = new_key()
        with self._store.transaction() as connection:
            connection.execute(delete(links).where(links.c.account == account))
            row = {"digest": digest_of(key), "account": account, "expires_at": self._now() + lifetime}
            connection.execute(links.insert().values(**row))
        return key

    def account_of(self, key: str) -> str | None:
        """Return the account of a link; None if the link is not valid. This does not use the link up."""
        query = select(links.c.account).join(accounts, accounts.c.name == links.c.account)
        valid = accounts.c.disabled_at.is_(None), *self._valid(key)
        with self._store.transaction() as connection:
            account: str | None = connection.execute(query.where(*valid)).scalar()
        return account

    def use(self, key: str) -> str | None:
        """Use a link up and return its account; None if the link is not valid. Only one of two concurrent calls succeeds."""
        mark_used = update(links).where(*self._valid(key)).values(used_at=self._now()).returning(links.c.account)
        with self._store.transaction() as connection:
            account: str | None = connection.execute(mark_used).scalar()
        return account

    def _valid(self, key: str) -> tuple[ColumnElement[bool], ...]:
        return links.c.digest == digest_of(key), links.c.used_at.is_(None), links.c.expires_at > self._now()
