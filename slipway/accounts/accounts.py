"""Accounts in Slipway's store. A change that removes rights also ends the account's sessions and revokes its tokens."""

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
    """All accounts. Every method raises `Unavailable` if the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def add(self, name: str, grant: Grant, *, by: str) -> Account:
        """Create an account without a password. Raises `InvalidInput` if the name is taken or not allowed."""
        check_name(name)
        account = Account(name=name, grant=grant, has_password=False, disabled_at=None, made_at=self._now(), made_by=by)
        row = insert(accounts).values(name=name, made_at=account.made_at, made_by=by, **columns_of(grant))
        with self._store.transaction() as connection:
            added_name = connection.execute(row.on_conflict_do_nothing().returning(accounts.c.name)).scalar()
        if added_name is None:
            raise InvalidInput(f"The account {name!r} already exists.", expected="A name that no account has.")
        return account

    def all(self) -> list[Account]:
        """Return all accounts, sorted by name."""
        with self._store.transaction() as connection:
            return [
                account_of(row) for row in connection.execute(select(accounts).order_by(accounts.c.name)).mappings()
            ]

    def find(self, name: str) -> Account:
        """Return one account. Raises `InvalidInput` if it does not exist."""
        with self._store.transaction() as connection:
            row = connection.execute(select(accounts).where(accounts.c.name == name)).mappings().one_or_none()
        if row is None:
            raise InvalidInput(
                f"The account {name!r} does not exist.", expected="A name that `slipway access people` lists."
            )
        return account_of(row)

    def password_hash(self, name: str) -> str | None:
        """Return the hash of an account's password; None if it has no password, is disabled, or does not exist."""
        query = select(accounts.c.password).where(accounts.c.name == name, accounts.c.disabled_at.is_(None))
        with self._store.transaction() as connection:
            hashed: str | None = connection.execute(query).scalar()
        return hashed

    def set_password(self, name: str, hashed: str) -> None:
        """Save the hash of a new password and end the account's sessions."""
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(password=hashed))
            connection.execute(delete(sessions).where(sessions.c.account == name))

    def renew_hash(self, name: str, hashed: str) -> None:
        """Save a stronger hash of the same password. Sessions continue."""
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(password=hashed))

    def change(self, name: str, grant: Grant) -> None:
        """Change the role or the services of an account. If this removes rights, sessions end and tokens are revoked."""
        before = self.find(name).grant
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(**columns_of(grant)))
            if _removes_rights(before, grant):
                self._end_sessions_and_tokens(connection, name)

    def disable(self, name: str) -> None:
        """Disable an account: end its sessions, delete its links and revoke its tokens."""
        self.find(name)
        now = self._now()
        with self._store.transaction() as connection:
            enabled = accounts.c.name == name, accounts.c.disabled_at.is_(None)
            connection.execute(update(accounts).where(*enabled).values(disabled_at=now))
            self._end_sessions_and_tokens(connection, name)
            connection.execute(delete(links).where(links.c.account == name))

    def enable(self, name: str) -> None:
        """Enable a disabled account. It keeps its password."""
        self.find(name)
        with self._store.transaction() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(disabled_at=None))

    def anyone_can_sign_in(self) -> bool:
        """Return whether any account has a password. If none has, nobody has used the service yet."""
        query = select(accounts.c.name).where(accounts.c.password.is_not(None)).limit(1)
        with self._store.transaction() as connection:
            return connection.execute(query).scalar() is not None

    def _end_sessions_and_tokens(self, connection: Connection, name: str) -> None:
        connection.execute(delete(sessions).where(sessions.c.account == name))
        active = tokens.c.account == name, tokens.c.revoked_at.is_(None)
        connection.execute(update(tokens).where(*active).values(revoked_at=self._now()))


def columns_of(grant: Grant) -> dict[str, Any]:
    """Return a grant as column values."""
    return {"role": grant.role, "services": None if grant.services is None else list(grant.services)}


def grant_of(row: Mapping[Any, Any]) -> Grant:
    """Return a grant from column values."""
    return Grant(role=row["role"], services=None if row["services"] is None else tuple(row["services"]))


def account_of(row: RowMapping) -> Account:
    """Return an account from its row, without the password hash."""
    fields = {name: row[name] for name in ("name", "disabled_at", "made_at", "made_by")}
    return Account(**fields, grant=grant_of(row), has_password=row["password"] is not None)


def _removes_rights(before: Grant, after: Grant) -> bool:
    if RIGHTS[before.role] - RIGHTS[after.role]:
        return True
    if after.services is None:
        return False
    return before.services is None or bool(set(before.services) - set(after.services))
