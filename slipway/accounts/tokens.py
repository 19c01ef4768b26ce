"""API tokens for programs: random, shown once, saved as a digest, with a grant and an expiry date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from slipway.accounts.accounts import columns_of, grant_of
from slipway.accounts.grants import Clock, Grant, Token, check_name, utc_now
from slipway.accounts.keys import TOKEN_PREFIX, digest_of, new_key
from slipway.core.errors import InvalidInput
from slipway.runs.account_tables import accounts, tokens
from slipway.runs.store import Store, compiled

LAST_USED_UPDATE_INTERVAL = timedelta(minutes=1)
MAX_LIFETIME = timedelta(days=366)
_FIND = compiled(
    select(tokens)
    .outerjoin(accounts, accounts.c.name == tokens.c.account)
    .where(tokens.c.digest == bindparam("digest"), tokens.c.expires_at > bindparam("now"))
    .where(tokens.c.revoked_at.is_(None), accounts.c.disabled_at.is_(None))
)


class Tokens:
    """All API tokens. Every method raises `Unavailable` if the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def make(self, name: str, grant: Grant, lifetime: timedelta, *, account: str | None) -> tuple[str, Token]:
        """Create a token and return its key and the token. The name of a revoked or expired token can be used again.

        Raises `InvalidInput` if the name is in use, or the lifetime is not between 0 and 366 days.
        """
        check_name(name)
        if not timedelta(0) < lifetime <= MAX_LIFETIME:
            raise InvalidInput(
                "A token lasts at least 1 and at most 366 days.", expected="A number of days from 1 to 366."
            )
        key, now = new_key(TOKEN_PREFIX), self._now()
        token = Token(
            name=name,
            grant=grant,
            account=account,
            made_at=now,
            expires_at=now + lifetime,
            last_used_at=None,
            revoked_at=None,
        )
        values = token.model_dump(exclude={"grant"}) | columns_of(grant) | {"digest": digest_of(key)}
        replaceable = or_(tokens.c.revoked_at.is_not(None), tokens.c.expires_at <= now)
        upsert = (
            insert(tokens)
            .values(**values)
            .on_conflict_do_update(index_elements=["name"], set_=values, where=replaceable)
        )
        with self._store.transaction() as connection:
            if connection.execute(upsert.returning(tokens.c.name)).scalar() is None:
                raise InvalidInput(
                    f"The token {name!r} already exists.", expected="Another name, or revoke that token first."
                )
        return key, token

    def find(self, key: str) -> Token | None:
        """Return the token of a key; None if it does not exist, is revoked or expired, or its account is disabled."""
        now, digest = self._now(), digest_of(key)
        rows = self._store.fetch(_FIND, {"digest": digest, "now": now})
        if rows and (rows[0]["last_used_at"] is None or rows[0]["last_used_at"] < now - LAST_USED_UPDATE_INTERVAL):
            with self._store.statement() as connection:
                connection.execute(update(tokens).where(tokens.c.digest == digest).values(last_used_at=now))
        return _token(rows[0]) if rows else None

    def all(self) -> list[Token]:
        """Return all tokens, including revoked and expired ones, sorted by name."""
        with self._store.transaction() as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.name)).mappings()]

    def revoke(self, name: str) -> None:
        """Revoke a token. Raises `InvalidInput` if it does not exist or is already revoked."""
        active = tokens.c.name == name, tokens.c.revoked_at.is_(None)
        set_revoked = update(tokens).where(*active).values(revoked_at=self._now())
        with self._store.transaction() as connection:
            if connection.execute(set_revoked).rowcount == 0:
                raise InvalidInput(
                    f"There is no token {name!r} to revoke.", expected="The name of a token that is not revoked."
                )


def _token(row: Mapping[Any, Any]) -> Token:
    fields = {name: row[name] for name in Token.model_fields if name != "grant"}
    return Token(**fields, grant=grant_of(row))
