"""The three statistical tests of the judge, as functions of plain numbers. Pure.

scipy.special is used instead of scipy.stats: its import takes a second less, and only Student's t is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, sqrt
from statistics import fmean, variance
from typing import NamedTuple

from scipy.special import stdtr, stdtrit


class Welch(NamedTuple):
    """The difference of two means (after − before), its confidence interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def welch(before: Sequence[float], after: Sequence[float], alpha: float) -> Welch:
    """Return the 1 − `alpha` confidence interval of mean(after) − mean(before), without assuming equal variances.

    Both samples need at least two values. If neither varies, the interval is the difference itself.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34 (1947), 28–35; degrees of freedom by Welch and Satterthwaite.
    """
    difference = fmean(after) - fmean(before)
    parts = [(variance(side) / len(side), len(side) - 1) for side in (before, after)]
    error = sqrt(sum(part for part, _ in parts))
    if error == 0.0:
        return Welch(difference, difference, difference, 1.0 if difference == 0.0 else 0.0)
    # Divide by the error first: the square of a tiny variance would underflow.
    freedom = 1.0 / sum((part / error / error) ** 2 / n for part, n in parts)
    reach = float(stdtrit(freedom, 1 - alpha / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Welch(difference, difference - reach, difference + reach, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for multiple comparisons, in the same order.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979), 65–70.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def fisher_more(before: int, before_of: int, after: int, after_of: int) -> float:
    """Return the one-sided p-value for `after` of `after_of` being a larger share than `before` of `before_of`.

    Source: R. A. Fisher, "Statistical Methods for Research Workers", 5th edition (1934), §21.02: the exact test of a
    2 × 2 table, the upper tail of the hypergeometric distribution.
    """
    marked = before + after
    tail = range(after, min(marked, after_of) + 1)
    total = _log_choose(before_of + after_of, marked)
    logs = (_log_choose(after_of, k) + _log_choose(before_of, marked - k) - total for k in tail if marked - k >= 0)
    return min(1.0, sum(exp(log) for log in logs))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
