"""The wait after failed sign-ins."""

from __future__ import annotations

from slipway.accounts.lockout import ALLOWED_PER_ACCOUNT, FIRST_WAIT_S, MAX_WAIT_S, wait_s


def test_the_wait_doubles_after_the_allowed_failures() -> None:
    """The first failures cause no wait, and no wait exceeds the maximum."""
    waits = [wait_s(failures, ALLOWED_PER_ACCOUNT) for failures in range(ALLOWED_PER_ACCOUNT + 6)]
    assert waits[:ALLOWED_PER_ACCOUNT] == [0.0] * ALLOWED_PER_ACCOUNT
    assert waits[ALLOWED_PER_ACCOUNT:] == [30.0, 60.0, 120.0, 240.0, 480.0, MAX_WAIT_S]
    assert wait_s(10**9, ALLOWED_PER_ACCOUNT) == MAX_WAIT_S
    assert FIRST_WAIT_S == 30.0
