"""How large the next batch of a backfill is, how long to wait after a time-out, and when it will be done. Pure.

As GitLab's batched background migrations: an exponential moving average of 0.4, growth of at most a fifth a batch.
"""

from __future__ import annotations

import math

from slipway.config.backfill import Batch
from slipway.core.frozen import FrozenModel

WEIGHT = 0.4  # of the newest batch
GROWTH = 1.2
KNOWN_AFTER = 3  # batches; an ETA from fewer is a guess
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0
MOST_TIMEOUTS = 40  # in a row


class Pace(FrozenModel):
    """The size of the next batch in rows; `rate` is rows a second within batches, `speed` over all working time."""

    size: int
    rate: float | None = None
    speed: float | None = None
    batches: int = 0


def after_batch(pace: Pace, batch: Batch, rows: int, seconds: float, working_s: float) -> Pace:
    """The pace after a batch of `rows` that took `seconds`.

    `working_s` is the time since the batch before it ended, without what was held or paused: failed tries and the
    rests between batches count towards an honest ETA, not towards the size.
    """
    rate = _smoothed(pace.rate, rows / max(seconds, 1e-6))
    speed = _smoothed(pace.speed, rows / max(working_s, 1e-6))
    wanted = min(int(rate * batch.target_s), math.ceil(pace.size * GROWTH))
    return Pace(size=_bounded(wanted, batch), rate=rate, speed=speed, batches=pace.batches + 1)


def rest_s(batch: Batch, seconds: float) -> float:
    """How long to rest after a batch that took `seconds`, so that batches take no more than their share of the time."""
    return max(batch.pause_s, seconds * (1 / batch.load - 1))


def after_timeout(pace: Pace, batch: Batch) -> Pace:
    """Half the size; what was known of the rate no longer holds."""
    return pace.model_copy(update={"size": _bounded(pace.size // 2, batch), "rate": None})


def wait_after_timeout(timeouts: int) -> float:
    """Seconds to wait after so many time-outs in a row: twice as long each time, up to ten seconds."""
    return float(min(FIRST_WAIT_S * 2.0 ** min(timeouts - 1, 20), LONGEST_WAIT_S))


def eta_s(pace: Pace, total: int | None, passed: int) -> float | None:
    """Working seconds to go, without any time that will be held or paused; None while nobody can know."""
    if total is None or passed > total or pace.speed is None or pace.batches < KNOWN_AFTER:
        return None
    return (total - passed) / pace.speed


def _smoothed(before: float | None, newest: float) -> float:
    return newest if before is None else WEIGHT * newest + (1 - WEIGHT) * before


def _bounded(size: int, batch: Batch) -> int:
    return max(batch.smallest, min(size, batch.largest))
