"""How large the next batch is, how long to wait after a time-out, and when a backfill will be done."""

from __future__ import annotations

import pytest

from slipway.backfill import Batch
from slipway.rules.batching import Pace, after_batch, after_timeout, eta_s, wait_after_timeout

BATCH = Batch(target_s=1, start=1_000, smallest=100, largest=5_000)


def batches(pace: Pace, rate: float, count: int, batch: Batch = BATCH) -> list[Pace]:
    """The paces behind so many batches on a table that does `rate` rows a second."""
    found = []
    for _ in range(count):
        seconds = pace.size / rate
        pace = after_batch(pace, batch, pace.size, seconds, seconds)
        found.append(pace)
    return found


def test_a_quick_table_gets_larger_batches_by_a_fifth_each() -> None:
    """The size grows by a fifth at most, up to the largest, however quick a batch was."""
    sizes = [pace.size for pace in batches(Pace(size=1_000), rate=1_000_000, count=20)]
    assert sizes[:3] == [1_200, 1_440, 1_728]
    assert sizes[-1] == 5_000


def test_the_size_settles_where_a_batch_takes_its_target() -> None:
    """From above and from below it comes to the rows of one target."""
    assert batches(Pace(size=1_000), rate=3_000, count=20)[-1].size == 3_000
    assert batches(Pace(size=5_000), rate=700, count=20)[-1].size == 700


def test_a_slow_table_gets_the_smallest_batches_at_once() -> None:
    """Shrinking has no limit but the smallest size."""
    assert batches(Pace(size=1_000), rate=5, count=1)[-1].size == 100


def test_one_slow_batch_counts_for_four_tenths() -> None:
    """The rate is a moving average, in which the newest batch weighs 0.4."""
    steady = batches(Pace(size=2_000), rate=2_000, count=5)[-1]
    assert after_batch(steady, BATCH, 2_000, 4, 4).rate == pytest.approx(0.4 * 500 + 0.6 * 2_000)


def test_a_batch_that_takes_no_time_at_all() -> None:
    """A clock that did not move is no division by zero."""
    assert after_batch(Pace(size=1_000), BATCH, 1_000, 0, 0).size == 1_200


def test_a_timeout_halves_the_size_and_forgets_the_rate() -> None:
    """Down to the smallest; the next batch is measured anew, and then grows by a fifth at most."""
    pace = after_timeout(Pace(size=1_000, rate=9_000, speed=8_000, batches=7), BATCH)
    assert (pace.size, pace.rate, pace.speed, pace.batches) == (500, None, 8_000, 7)
    assert after_timeout(Pace(size=150), BATCH).size == 100
    assert after_batch(pace, BATCH, 500, 0.01, 0.01).size == 600


def test_the_wait_after_timeouts_grows_to_ten_seconds() -> None:
    """Twice as long each time, and never longer than ten seconds."""
    assert [wait_after_timeout(count) for count in (1, 2, 3, 7, 8, 40, 4_000)] == [0.1, 0.2, 0.4, 6.4, 10, 10, 10]


def test_an_eta_is_unknown_at_first() -> None:
    """Two batches are a guess; three are an estimate by the working time."""
    paces = batches(Pace(size=1_000), rate=1_000, count=3)
    assert [eta_s(pace, 10_000, 3_000) for pace in paces] == [None, None, pytest.approx(7)]


def test_an_eta_by_working_time() -> None:
    """What was spent on failed tries and rests between batches is part of it, what was held or paused is not."""
    pace = Pace(size=100)
    for _ in range(5):
        pace = after_batch(pace, BATCH, 100, seconds=0.1, working_s=0.5)
    assert eta_s(pace, 1_100, 100) == pytest.approx(5)


def test_no_eta_without_a_total_that_can_be_true() -> None:
    """An estimate of the rows that is passed already says nothing about the end."""
    pace = batches(Pace(size=1_000), rate=1_000, count=3)[-1]
    assert eta_s(pace, None, 3_000) is None
    assert eta_s(pace, 2_999, 3_000) is None
    assert eta_s(pace, 3_000, 3_000) == 0
