"""Batch sizes, waits after time-outs, and the ETA."""

import pytest

from slipway.backfilling.batches import Pace, after_batch, after_timeout, eta_s, rest_s, wait_after_timeout
from slipway.config.backfill import Batch

BATCH = Batch(start=1_000, smallest=100, largest=50_000, target_s=1)


def test_size_grows_by_at_most_a_fifth() -> None:
    """If batches are much faster than the target, each is a fifth larger, up to the largest size."""
    pace, sizes = Pace(size=1_000), []
    for _ in range(30):
        pace = after_batch(pace, BATCH, pace.size, pace.size / 1_000_000, 0.1)
        sizes.append(pace.size)
    assert sizes[:3] == [1_200, 1_440, 1_728]
    assert sizes[-1] == 50_000


def test_size_converges_to_the_target() -> None:
    """At ten thousand rows a second and a target of one second, a batch has ten thousand rows."""
    pace = Pace(size=1_000)
    for _ in range(30):
        pace = after_batch(pace, BATCH, pace.size, pace.size / 10_000, 1)
    assert pace.size == pytest.approx(10_000, rel=0.001)


def test_size_shrinks_with_the_rate_down_to_the_smallest() -> None:
    """If rows become slow, the size follows the smoothed rate, in which the newest batch has a weight of 0.4."""
    pace = after_batch(Pace(size=10_000, rate=10_000), BATCH, 10_000, 10, 10)
    assert (pace.rate, pace.size) == (0.4 * 1_000 + 0.6 * 10_000, 6_400)
    for _ in range(50):
        pace = after_batch(pace, BATCH, pace.size, pace.size / 10, 1)
    assert pace.size == 100


def test_a_small_size_can_grow() -> None:
    """The growth of a small batch is at least one row."""
    batch = Batch(start=1, smallest=1)
    assert after_batch(Pace(size=1), batch, 1, 0.001, 0.001).size == 2


def test_a_time_out_halves_the_size_and_discards_the_rate() -> None:
    """After a time-out, the size is halved down to the smallest, and then grows by a fifth again."""
    pace = after_timeout(Pace(size=10_000, rate=10_000, speed=9_000, batches=5), BATCH)
    assert (pace.size, pace.rate, pace.speed) == (5_000, None, 9_000)
    assert after_batch(pace, BATCH, 5_000, 0.01, 0.01).size == 6_000
    assert after_timeout(Pace(size=150), BATCH).size == 100


def test_the_wait_doubles_up_to_ten_seconds() -> None:
    """Each time-out in a row doubles the wait, up to ten seconds."""
    assert [wait_after_timeout(number) for number in (1, 2, 3, 7, 8, 40)] == [0.1, 0.2, 0.4, 6.4, 10, 10]


def test_the_eta_counts_working_time() -> None:
    """The ETA uses the speed over all working time, with rests and failed attempts, not the rate within batches."""
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
def test_the_eta_can_be_unknown(pace: Pace, total: int | None, passed: int) -> None:
    """An ETA that cannot be computed is None."""
    assert eta_s(pace, total, passed) is None


def test_a_batch_can_take_no_time() -> None:
    """If the clock did not advance, there is no division by zero."""
    assert after_batch(Pace(size=1_000), BATCH, 1_000, 0.0, 0.0).size == 1_200


def test_rest_limits_the_share_of_batches() -> None:
    """A share of a quarter rests three times as long as the batch. A longer `pause_s` applies. A full share does not rest."""
    assert rest_s(Batch(load=0.25), 0.02) == pytest.approx(0.06)
    assert rest_s(Batch(load=0.25, pause_s=0.1), 0.02) == 0.1
    assert rest_s(Batch(load=1), 0.02) == 0
