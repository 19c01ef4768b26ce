"""Failed sign-ins, counted per account name and per address. Names of accounts that do not exist are counted, too."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from slipway.accounts.grants import Clock, utc_now
from slipway.accounts.keys import digest_of
from slipway.accounts.lockout import ALLOWED_PER_ACCOUNT, ALLOWED_PER_ADDRESS, RESET_AFTER_S, wait_s
from slipway.runs.account_tables import failed_sign_ins
from slipway.runs.store import Store


class SignInThrottle:
    """All sign-in attempts. Every method raises `Unavailable` if the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def register(self, name: str, address: str) -> float:
        """Register a sign-in attempt. Return 0, or the seconds to wait if the attempt is not allowed yet.

        An allowed attempt counts as failed until `record_success` is called, so concurrent attempts are all counted.
        """
        allowed = {_account_key(name): ALLOWED_PER_ACCOUNT, _address_key(address): ALLOWED_PER_ADDRESS}
        with self._store.transaction() as connection:
            connection.execute(
                delete(failed_sign_ins).where(failed_sign_ins.c.at < self._now() - timedelta(seconds=RESET_AFTER_S))
            )
            waits = [self._lock_key(connection, key, allowed[key]) for key in sorted(allowed)]  # sorted: no deadlock
            if max(waits) == 0:
                increment = {"failures": failed_sign_ins.c.failures + 1, "at": self._now()}
                connection.execute(
                    update(failed_sign_ins).where(failed_sign_ins.c.key.in_(allowed)).values(**increment)
                )
        return max(waits)

    def record_success(self, name: str, address: str) -> None:
        """Record that an attempt succeeded: reset the count of the account, and subtract 1 from the count of the address."""
        decrement = update(failed_sign_ins).where(
            failed_sign_ins.c.key == _address_key(address), failed_sign_ins.c.failures > 0
        )
        with self._store.transaction() as connection:
            connection.execute(decrement.values(failures=failed_sign_ins.c.failures - 1))
            connection.execute(delete(failed_sign_ins).where(failed_sign_ins.c.key == _account_key(name)))

    def reset(self, name: str) -> None:
        """Reset the count of an account."""
        with self._store.transaction() as connection:
            connection.execute(delete(failed_sign_ins).where(failed_sign_ins.c.key == _account_key(name)))

    def _lock_key(self, connection: Connection, key: str, allowed: int) -> float:
        """Lock the row of a key until the transaction ends. Return the seconds to wait."""
        row = insert(failed_sign_ins).values(key=key, failures=0, at=self._now())
        connection.execute(row.on_conflict_do_nothing())
        query = (
            select(failed_sign_ins.c.failures, failed_sign_ins.c.at)
            .where(failed_sign_ins.c.key == key)
            .with_for_update()
        )
        failures, at = connection.execute(query).one()
        wait = wait_s(failures, allowed)
        if wait == 0:  # without this, `at` from a process whose clock is ahead would add a wait
            return 0.0
        elapsed_s: float = (self._now() - at).total_seconds()
        return max(0.0, wait - elapsed_s)


def _account_key(name: str) -> str:
    return f"account {digest_of(name)}"  # a digest, because people sometimes type their password into the name field


def _address_key(address: str) -> str:
    """Return the key of an IPv4 address, or of the /64 network of an IPv6 address (one customer's network)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    network = ipaddress.ip_network((parsed, 64), strict=False) if parsed.version == 6 else parsed
    return f"address {network}"
