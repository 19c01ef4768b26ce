"""Tokens for machines: random, kept as a digest, shown once, with a grant and an end."""

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
from slipway.runs.store import Store, plain

NOTED_AFTER = timedelta(minutes=1)
LONGEST = timedelta(days=366)
_FIND = plain(
    select(tokens)
    .outerjoin(accounts, accounts.c.name == tokens.c.account)
    .where(tokens.c.digest == bindparam("digest"), tokens.c.expires_at > bindparam("now"))
    .where(tokens.c.revoked_at.is_(None), accounts.c.disabled_at.is_(None))
)


class Tokens:
    """The tokens of all machines. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def make(self, name: str, grant: Grant, lasts: timedelta, *, account: str | None) -> tuple[str, Token]:
        """A new token and its key. A name that was revoked or has expired may be used again, no other.

        Raises InvalidInput for a name that is in use, and for more than a year.
        """
        check_name(name)
        if not timedelta(0) < lasts <= LONGEST:
            raise InvalidInput("A token lasts at least a day and at most 366.", expected="Days from 1 to 366.")
        key, now = new_key(TOKEN_PREFIX), self._now()
        made = Token(
            name=name,
            grant=grant,
            account=account,
            made_at=now,
            expires_at=now + lasts,
            last_used_at=None,
            revoked_at=None,
        )
        values = made.model_dump(exclude={"grant"}) | columns_of(grant) | {"digest": digest_of(key)}
        gone = or_(tokens.c.revoked_at.is_not(None), tokens.c.expires_at <= now)
        put = insert(tokens).values(**values).on_conflict_do_update(index_elements=["name"], set_=values, where=gone)
        with self._store.transaction() as connection:
            if connection.execute(put.returning(tokens.c.name)).scalar() is None:
                raise InvalidInput(f"There is a token {name!r} already.", expected="Another name, or that one revoked.")
        return key, made

    def find(self, key: str) -> Token | None:
        """The token of a key; None when there is none, or it was revoked, has expired, or its account is disabled."""
        now, digest = self._now(), digest_of(key)
        rows = self._store.ask(_FIND, {"digest": digest, "now": now})
        if rows and (rows[0]["last_used_at"] is None or rows[0]["last_used_at"] < now - NOTED_AFTER):
            with self._store.statement() as connection:
                connection.execute(update(tokens).where(tokens.c.digest == digest).values(last_used_at=now))
        return _token(rows[0]) if rows else None

    def all(self) -> list[Token]:
        """Every token, also those that have ended, by name."""
        with self._store.transaction() as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.name)).mappings()]

    def revoke(self, name: str) -> None:
        """End a token. Raises InvalidInput when there is none, or it has ended."""
        alive = tokens.c.name == name, tokens.c.revoked_at.is_(None)
        ended = update(tokens).where(*alive).values(revoked_at=self._now())
        with self._store.transaction() as connection:
            if connection.execute(ended).rowcount == 0:
                raise InvalidInput(f"There is no token {name!r} to revoke.", expected="The name of one that is in use.")


def _token(row: Mapping[Any, Any]) -> Token:
    plain = {name: row[name] for name in Token.model_fields if name != "grant"}
    return Token(**plain, grant=grant_of(row))
