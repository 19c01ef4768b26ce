"""Sentences that people wrote, with ours behind them."""

import pytest

from slipway.rules.sentences import ended


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("not today", "not today."),
        ("not today ", "not today."),
        ("Not today.", "Not today."),
        ("Why now?", "Why now?"),
        ("Never!", "Never!"),
        ("until the sale (Friday)", "until the sale (Friday)."),
    ],
)
def test_a_sentence_ends(written: str, shown: str) -> None:
    """A full stop comes where there is none, and only there."""
    assert ended(written) == shown
