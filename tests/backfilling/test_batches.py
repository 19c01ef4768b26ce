"""The size of batches, the wait after time-outs, and the ETA."""

import pytest

from slipway.backfilling.batches import Pace, after_batch, after_timeout, eta_s, rest_s, wait_after_timeout
from slipway.config.backfill import Batch

BATCH = Batch(start=1_000, smallest=100, largest=50_000, target_s=1)


def test_it_grows_by_a_fifth_at_most() -> None:
    """Batches that are far too quick grow by a fifth each, up to the largest."""
    pace, sizes = Pace(size=1_000), []
    for _ in range(30):
        pace = after_batch(pace, BATCH, pace.size, pace.size / 1_000_000, 0.1)
        sizes.append(pace.size)
    assert sizes[:3] == [1_200, 1_440, 1_728]
    assert sizes[-1] == 50_000


def test_it_settles_at_the_target() -> None:
    """At ten thousand rows a second and a target of one second, a batch has ten thousand rows."""
    pace = Pace(size=1_000)
    for _ in range(30):
        pace = after_batch(pace, BATCH, pace.size, pace.size / 10_000, 1)
    assert pace.size == pytest.approx(10_000, rel=0.001)


def test_it_shrinks_with_the_rate_and_not_below_the_smallest() -> None:
    """When rows become slow the size follows the smoothed rate, four tenths of the way each time."""
    pace = after_batch(Pace(size=10_000, rate=10_000), BATCH, 10_000, 10, 10)
    assert (pace.rate, pace.size) == (0.4 * 1_000 + 0.6 * 10_000, 6_400)
    for _ in range(50):
        pace = after_batch(pace, BATCH, pace.size, pace.size / 10, 1)
    assert pace.size == 100


def test_a_small_size_can_grow() -> None:
    """A fifth of a few rows is at least one."""
    batch = Batch(start=1, smallest=1)
    assert after_batch(Pace(size=1), batch, 1, 0.001, 0.001).size == 2


def test_a_time_out_halves_and_forgets_the_rate() -> None:
    """After a time-out the size is half, not below the smallest, and grows again only by a fifth."""
    pace = after_timeout(Pace(size=10_000, rate=10_000, speed=9_000, batches=5), BATCH)
    assert (pace.size, pace.rate, pace.speed) == (5_000, None, 9_000)
    assert after_batch(pace, BATCH, 5_000, 0.01, 0.01).size == 6_000
    assert after_timeout(Pace(size=150), BATCH).size == 100


def test_the_wait_grows_to_ten_seconds() -> None:
    """Each time-out in a row waits twice as long as the one before, and never longer than ten seconds."""
    assert [wait_after_timeout(number) for number in (1, 2, 3, 7, 8, 40)] == [0.1, 0.2, 0.4, 6.4, 10, 10]


def test_the_eta_counts_working_time() -> None:
    """The ETA is by the speed over all working time, rests and failed tries too, not by the rate within batches."""
    pace = Pace(size=1_000)
    for _ in range(5):
        pace = after_batch(pace, BATCH, 1_000, 0.1, 0.5)
    assert pace.speed == pytest.approx(2_000)
    assert eta_s(pace, 100_000, 20_000) == pytest.approx(40)


@pytest.mark.parametrize(
    ("pace", "total", "passed"),
    [
        (Pace(size=1), 100, 0),
        (Pace(size=1, speed=10, batches=2), 100, 20),
        (Pace(size=1, speed=10, batches=9), None, 20),
        (Pace(size=1, speed=10, batches=9), 100, 101),
    ],
    ids=["nothing done", "too few batches", "no total", "more than estimated"],
)
def test_an_eta_that_nobody_knows(pace: Pace, total: int | None, passed: int) -> None:
    """What cannot be known is not guessed."""
    assert eta_s(pace, total, passed) is None


def test_a_batch_that_takes_no_time_at_all() -> None:
    """A clock that did not move is no division by zero."""
    assert after_batch(Pace(size=1_000), BATCH, 1_000, 0.0, 0.0).size == 1_200


def test_batches_take_their_share_of_the_time() -> None:
    """A quarter of it means three times as long a rest; a pause that is longer is kept; all of it means no rest."""
    assert rest_s(Batch(load=0.25), 0.02) == pytest.approx(0.06)
    assert rest_s(Batch(load=0.25, pause_s=0.1), 0.02) == 0.1
    assert rest_s(Batch(load=1), 0.02) == 0
