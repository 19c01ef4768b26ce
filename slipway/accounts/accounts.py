"""Accounts, in Slipway's store. What takes rights away also ends what was made with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from slipway.accounts.grants import RIGHTS, Account, Clock, Grant, check_name, utc_now
from slipway.core.errors import InvalidInput
from slipway.runs.account_tables import accounts, links, sessions, tokens
from slipway.runs.store import Store


class Accounts:
    """The accounts of all people. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def add(self, name: str, grant: Grant, *, by: str) -> Account:
        """A new account without a password. Raises InvalidInput for a name that is taken or not allowed."""
        check_name(name)
        made = Account(name=name, grant=grant, has_password=False, disabled_at=None, made_at=self._now(), made_by=by)
        row = insert(accounts).values(name=name, made_at=made.made_at, made_by=by, **columns_of(grant))
        with self._store.transaction() as connection:
            added = connection.execute(row.on_conflict_do_nothing().returning(accounts.c.name)).scalar()
        if added is None:
            raise InvalidInput(f"There is an account {name!r} already.", expected="Another name.")
        return made

    def all(self) -> list[Account]:
        """Every account, by name."""
        with self._store.transaction() as connection:
            return [
                account_of(row) for row in connection.execute(select(accounts).order_by(accounts.c.name)).mappings()
            ]

    def find(self, name: str) -> Account:
        """One account. Raises InvalidInput when there is none."""
        with self._store.transaction() as connection:
            row = connection.execute(select(accounts).where(accounts.c.name == name)).mappings().one_or_none()
        if row is None:
            raise InvalidInput(
                f"There is no account {name!r}.", expected="A name as `slipway access people` lists them."
            )
        return account_of(row)

    def password_of(self, name: str) -> str | None:
        """The hash of an account's password; None when it has none, is disabled, or does not exist."""
        wanted = select(accounts.c.password).where(accounts.c.name == name, accounts.c.disabled_at.is_(None))
        with self._store.transaction() as connection:
            kept: str | None = connection.execute(wanted).scalar()
        return kept

    def set_password(self, name: str, hashed: str) -> None:
        """Keep another hash; sessions that began under the old password end."""
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(password=hashed))
            connection.execute(delete(sessions).where(sessions.c.account == name))

    def renew_hash(self, name: str, hashed: str) -> None:
        """Keep a stronger hash of the same password."""
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(password=hashed))

    def change(self, name: str, grant: Grant) -> None:
        """Give an account another role or other services. When that takes rights away, sessions and tokens end."""
        before = self.find(name).grant
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(**columns_of(grant)))
            if _takes_away(before, grant):
                self._end(connection, name)

    def disable(self, name: str) -> None:
        """Let an account sign in no more; its sessions, links and tokens end."""
        self.find(name)
        now = self._now()
        with self._store.transaction() as connection:
            off = accounts.c.name == name, accounts.c.disabled_at.is_(None)
            connection.execute(update(accounts).where(*off).values(disabled_at=now))
            self._end(connection, name)
            connection.execute(delete(links).where(links.c.account == name))

    def enable(self, name: str) -> None:
        """Let an account sign in again, with the password it had."""
        self.find(name)
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(disabled_at=None))

    def somebody_can_sign_in(self) -> bool:
        """Whether any account has a password; if none has, the service was never used."""
        wanted = select(accounts.c.name).where(accounts.c.password.is_not(None)).limit(1)
        with self._store.transaction() as connection:
            return connection.execute(wanted).scalar() is not None

    def _end(self, connection: Connection, name: str) -> None:
        connection.execute(delete(sessions).where(sessions.c.account == name))
        alive = tokens.c.account == name, tokens.c.revoked_at.is_(None)
        connection.execute(update(tokens).where(*alive).values(revoked_at=self._now()))


def columns_of(grant: Grant) -> dict[str, Any]:
    """A grant as columns."""
    return {"role": grant.role, "services": None if grant.services is None else list(grant.services)}


def grant_of(row: Mapping[Any, Any]) -> Grant:
    """A grant from columns."""
    return Grant(role=row["role"], services=None if row["services"] is None else tuple(row["services"]))


def account_of(row: RowMapping) -> Account:
    """An account from its row, without the password."""
    plain = {name: row[name] for name in ("name", "disabled_at", "made_at", "made_by")}
    return Account(**plain, grant=grant_of(row), has_password=row["password"] is not None)


def _takes_away(before: Grant, after: Grant) -> bool:
    if RIGHTS[before.role] - RIGHTS[after.role]:
        return True
    if after.services is None:
        return False
    return before.services is None or bool(set(before.services) - set(after.services))
