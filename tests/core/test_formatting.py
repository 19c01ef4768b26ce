"""Sentences that people wrote, with ours behind them."""

import pytest

from slipway.core.formatting import ended, significant


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


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0512, "0.0512"), (0.5, "0.5"), (18.24, "18.2"), (99.96, "100"), (1043.4, "1043"), (2e6, "2000000")],
)
def test_significant_digits(value: float, words: str) -> None:
    """A second and more is written out, too."""
    assert significant(value) == words
