"""How long the probe pauses after 429 and 503."""

from __future__ import annotations

import pytest

from slipway.measurement.backoff import FIRST_S, LONGEST_S, Backoff


@pytest.mark.parametrize(
    ("status", "retry_after", "pause_s"),
    [
        (429, "7", 7.0),
        (503, "Fri, 31 Dec 2999 23:59:59 GMT", LONGEST_S),
        (503, "Sat, 01 Jan 2000 00:00:00 GMT", 0.0),
        (429, "", FIRST_S),
        (429, "soon", FIRST_S),
        (500, "7", 0.0),
        (200, "7", 0.0),
    ],
)
def test_pause_that_a_response_asks_for(status: int, retry_after: str, pause_s: float) -> None:
    """Seconds and dates are followed up to the longest pause; without a readable value the pause is the first one."""
    backoff = Backoff()
    backoff.record(status, retry_after, due=1.0)
    assert backoff._pause_s == pause_s
