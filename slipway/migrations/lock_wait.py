"""Wait until a migration can get its locks, without requesting them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from slipway.core import cancellation
from slipway.databases.catalog import LockMode
from slipway.databases.database import Blocker, Database

CHECK_EVERY_S = 0.2
logger = logging.getLogger("slipway.migrate")


class LockWaitBudget:
    """The time to wait for lock holders: `per_attempt` seconds before each attempt, plus `extra` seconds over all attempts.

    The extra time is used only while an attempt could not succeed.
    """

    def __init__(self, per_attempt: float, extra: float) -> None:
        self.per_attempt, self.extra = per_attempt, extra


def wait_for_lock_holders(
    database: Database, locks: Mapping[str, LockMode], budget: LockWaitBudget
) -> dict[int, Blocker]:
    """Wait while other sessions hold conflicting locks, at most for the budget; return those sessions by process id.

    A session that requests a lock and waits blocks all later sessions, so the migration does not request its locks yet.
    While a transaction from the first check still holds its locks, an attempt could not have succeeded, so the wait may
    also use the extra time.
    """
    seen: dict[int, Blocker] = {}
    start = time.monotonic()
    with database.lock_holder_reader(locks) as read_holders:
        holders = read_holders()
        if holders:
            logger.info("waiting for the locks of %s", format_blockers(holders))
        remaining = _transactions(holders)
        while holders and time.monotonic() - start < budget.per_attempt + (budget.extra if remaining else 0.0):
            seen |= {blocker.pid: blocker for blocker in holders}
            cancellation.wait(CHECK_EVERY_S)
            holders = read_holders()
            remaining &= _transactions(holders)
    budget.extra -= max(0.0, time.monotonic() - start - budget.per_attempt)
    return seen


def format_blockers(blockers: Iterable[Blocker]) -> str:
    """Return the descriptions of the sessions, separated by semicolons."""
    return "; ".join(blocker.describe() for blocker in blockers)


def _transactions(blockers: Iterable[Blocker]) -> set[object]:
    return {(blocker.pid, blocker.since) for blocker in blockers}
