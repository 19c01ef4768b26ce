"""Test that the statistics agree with scipy.stats, an independent implementation, and with a worked example."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats

from slipway.measurement.statistics import fisher_more, holm, welch


@pytest.mark.parametrize("sizes", [(20, 20), (20, 40), (2, 3)])
@pytest.mark.parametrize("spread", [1e-9, 0.1, 50.0])
def test_welch_agrees_with_scipy(sizes: tuple[int, int], spread: float) -> None:
    """Interval and p-value equal those of scipy's t-test without equal variances."""
    rng = random.Random(sum(sizes))
    before = [rng.gauss(1.0, 0.1) for _ in range(sizes[0])]
    after = [rng.gauss(1.2, spread) for _ in range(sizes[1])]
    scipy_result = stats.ttest_ind(after, before, equal_var=False)
    interval = scipy_result.confidence_interval(0.975)
    result = welch(before, after, alpha=0.025)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert result.p_value == pytest.approx(scipy_result.pvalue, rel=1e-6)


def test_welch_of_constant_samples() -> None:
    """Two constant samples differ with certainty or not at all, without a division by zero."""
    assert welch([1.0, 1.0], [1.0, 1.0], 0.05) == (0.0, 0.0, 0.0, 1.0)
    assert welch([1.0, 1.0], [3.0, 3.0], 0.05) == (2.0, 2.0, 2.0, 0.0)


def test_holm_agrees_with_a_worked_example() -> None:
    """The smallest of four p-values is multiplied by four, the next by three, and no result is below the previous one."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one() -> None:
    """Adjusted p-values are at most 1, and an empty list stays empty."""
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    "table", [(0, 1000, 5, 1000), (3, 40, 4, 1000), (10, 400, 30, 900), (5, 5, 5, 5), (0, 9, 0, 9)]
)
def test_fisher_agrees_with_scipy(table: tuple[int, int, int, int]) -> None:
    """The one-sided p-value equals that of scipy for the same table."""
    before, before_of, after, after_of = table
    rows = np.array([[after, after_of - after], [before, before_of - before]])
    scipy_result = stats.fisher_exact(rows, alternative="greater")
    assert fisher_more(*table) == pytest.approx(scipy_result.pvalue, rel=1e-9)
