"""How long somebody waits who has failed to sign in."""

from __future__ import annotations

from slipway.accounts.lockout import FIRST_WAIT_S, FREE_OF_ACCOUNT, LONGEST_WAIT_S, wait_s


def test_some_are_free_and_then_each_doubles() -> None:
    """A person may mistype; a guesser gets a few tries an hour, and nobody is kept out for longer than the longest."""
    waits = [wait_s(failures, FREE_OF_ACCOUNT) for failures in range(FREE_OF_ACCOUNT + 6)]
    assert waits[:FREE_OF_ACCOUNT] == [0.0] * FREE_OF_ACCOUNT
    assert waits[FREE_OF_ACCOUNT:] == [30.0, 60.0, 120.0, 240.0, 480.0, LONGEST_WAIT_S]
    assert wait_s(10**9, FREE_OF_ACCOUNT) == LONGEST_WAIT_S
    assert FIRST_WAIT_S == 30.0
