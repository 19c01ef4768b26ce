"""The size of the next batch, the wait after a time-out, and the estimated time left. Pure.

As in GitLab's batched background migrations, the weight of the exponential moving average is 0.4. A batch grows by at
most a fifth.
"""

from __future__ import annotations

import math

from slipway.config.backfill import Batch
from slipway.core.frozen import FrozenModel

WEIGHT = 0.4  # of the newest batch
GROWTH = 1.2
ETA_AFTER = 3  # batches; fewer give no reliable ETA
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0
MOST_TIMEOUTS = 40  # in a row


class Pace(FrozenModel):
    """The size of the next batch in rows. `rate` is rows per second within batches, `speed` over all working time."""

    size: int
    rate: float | None = None
    speed: float | None = None
    batches: int = 0


def after_batch(pace: Pace, batch: Batch, rows: int, seconds: float, working_s: float) -> Pace:
    """Return the pace after a batch of `rows` that took `seconds`.

    `working_s` is the time since the end of the previous batch, without held and paused time. It includes failed
    attempts and the rests between batches, which count for the ETA, but not for the batch size.
    """
    rate = _smoothed(pace.rate, rows / max(seconds, 1e-6))
    speed = _smoothed(pace.speed, rows / max(working_s, 1e-6))
    size = min(int(rate * batch.target_s), math.ceil(pace.size * GROWTH))
    return Pace(size=_bounded(size, batch), rate=rate, speed=speed, batches=pace.batches + 1)


def rest_s(batch: Batch, seconds: float) -> float:
    """Return the rest in seconds after a batch that took `seconds`, so that batches use at most the share `batch.load`."""
    return max(batch.pause_s, seconds * (1 / batch.load - 1))


def after_timeout(pace: Pace, batch: Batch) -> Pace:
    """Return a pace with half the batch size and no rate, because the old rate no longer applies."""
    return pace.model_copy(update={"size": _bounded(pace.size // 2, batch), "rate": None})


def wait_after_timeout(timeouts: int) -> float:
    """Return the seconds to wait after a number of time-outs in a row: twice as long each time, up to ten seconds."""
    return float(min(FIRST_WAIT_S * 2.0 ** min(timeouts - 1, 20), LONGEST_WAIT_S))


def eta_s(pace: Pace, total: int | None, passed: int) -> float | None:
    """Return the remaining working time in seconds, without held and paused time, or None while it is unknown."""
    if total is None or passed > total or pace.speed is None or pace.batches < ETA_AFTER:
        return None
    return (total - passed) / pace.speed


def _smoothed(before: float | None, newest: float) -> float:
    return newest if before is None else WEIGHT * newest + (1 - WEIGHT) * before


def _bounded(size: int, batch: Batch) -> int:
    return max(batch.smallest, min(size, batch.largest))
