"""Failed tries to sign in, counted per account and per address, whether there is such an account or not."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from slipway.accounts.grants import Clock, utc_now
from slipway.accounts.keys import digest_of
from slipway.accounts.lockout import FORGOTTEN_AFTER_S, FREE_OF_ACCOUNT, FREE_OF_ADDRESS, wait_s
from slipway.runs.account_tables import tries
from slipway.runs.store import Store


class SignInThrottle:
    """The tries of everybody. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def begin(self, name: str, address: str) -> float:
        """Begin a try: 0, or the seconds to wait, and then it is none.

        It counts as failed until `succeeded` says otherwise, so that many at once count as many.
        """
        free = {_account(name): FREE_OF_ACCOUNT, _address(address): FREE_OF_ADDRESS}
        with self._store.transaction() as connection:
            connection.execute(delete(tries).where(tries.c.at < self._now() - timedelta(seconds=FORGOTTEN_AFTER_S)))
            waits = [self._waits(connection, key, free[key]) for key in sorted(free)]  # in one order: no deadlock
            if max(waits) == 0:
                one_more = {"failures": tries.c.failures + 1, "at": self._now()}
                connection.execute(update(tries).where(tries.c.key.in_(free)).values(**one_more))
        return max(waits)

    def succeeded(self, name: str, address: str) -> None:
        """A try was none that failed: the account begins anew, the address has one less."""
        one_less = update(tries).where(tries.c.key == _address(address), tries.c.failures > 0)
        with self._store.transaction() as connection:
            connection.execute(one_less.values(failures=tries.c.failures - 1))
            connection.execute(delete(tries).where(tries.c.key == _account(name)))

    def forget(self, name: str) -> None:
        """An account begins anew."""
        with self._store.transaction() as connection:
            connection.execute(delete(tries).where(tries.c.key == _account(name)))

    def _waits(self, connection: Connection, key: str, free: int) -> float:
        row = insert(tries).values(key=key, failures=0, at=self._now())
        connection.execute(row.on_conflict_do_nothing())
        wanted = select(tries.c.failures, tries.c.at).where(tries.c.key == key).with_for_update()
        failures, at = connection.execute(wanted).one()
        wait = wait_s(failures, free)
        if wait == 0:  # whatever the clock of another process said when it counted
            return 0.0
        waited: float = (self._now() - at).total_seconds()
        return max(0.0, wait - waited)


def _account(name: str) -> str:
    return f"account {digest_of(name)}"  # a digest, as people type their password where the name belongs


def _address(address: str) -> str:
    """One IPv4 address, or the network that one customer of IPv6 has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    network = ipaddress.ip_network((parsed, 64), strict=False) if parsed.version == 6 else parsed
    return f"address {network}"
