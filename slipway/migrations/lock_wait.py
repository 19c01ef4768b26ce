"""Wait until a migration has a chance to get its locks, without asking for them yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from slipway.core import cancellation
from slipway.databases.catalog import LockMode
from slipway.databases.database import Blocker, Database

LOOK_EVERY_S = 0.2
logger = logging.getLogger("slipway.migrate")


class LockWaitBudget:
    """How long to wait for a gap: `each` seconds before every try, and `vain` more in all while a try would be in vain."""

    def __init__(self, each: float, vain: float) -> None:
        self.each, self.vain = each, vain


def wait_for_a_gap(database: Database, wanted: Mapping[str, LockMode], patience: LockWaitBudget) -> dict[int, Blocker]:
    """Wait while somebody is seen in the way; then the try is made all the same. The answer is who that was.

    Who asks for a lock and waits keeps everybody waiting that comes later, so it is better not to ask yet. While the same
    transaction has been in the way since the first look, asking would have been in vain, and patience lasts longer.
    """
    met: dict[int, Blocker] = {}
    began = time.monotonic()
    with database.in_the_way(wanted) as look:
        found = look()
        if found:
            logger.info("waiting for a gap behind %s", words(found))
        stayed = _transactions(found)
        while found and time.monotonic() - began < patience.each + (patience.vain if stayed else 0.0):
            met |= {blocker.pid: blocker for blocker in found}
            cancellation.wait(LOOK_EVERY_S)
            found = look()
            stayed &= _transactions(found)
    patience.vain -= max(0.0, time.monotonic() - began - patience.each)
    return met


def words(blockers: Iterable[Blocker]) -> str:
    """Who they are."""
    return "; ".join(blocker.words() for blocker in blockers)


def _transactions(found: Iterable[Blocker]) -> set[object]:
    return {(blocker.pid, blocker.since) for blocker in found}
