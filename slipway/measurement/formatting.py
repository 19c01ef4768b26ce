"""Format measured numbers for people. Pure."""

from __future__ import annotations

from slipway.core.formatting import percent, ratio_digits, times
from slipway.measurement.samples import Interval


def interval(shown: Interval) -> str:
    """Return "0.17× (0.15–0.19 at 95 %)"."""
    return f"{times(shown.ratio)} ({ratio_digits(shown.low)}–{ratio_digits(shown.high)} at {percent(shown.confidence)})"
