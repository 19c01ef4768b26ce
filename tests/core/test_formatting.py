"""Complete a user's sentence, and format numbers."""

import pytest

from slipway.core.formatting import significant, with_full_stop


@pytest.mark.parametrize(
    ("sentence", "ended_sentence"),
    [
        ("not today", "not today."),
        ("not today ", "not today."),
        ("Not today.", "Not today."),
        ("Why now?", "Why now?"),
        ("Never!", "Never!"),
        ("until the sale (Friday)", "until the sale (Friday)."),
    ],
)
def test_full_stop_is_added_only_if_missing(sentence: str, ended_sentence: str) -> None:
    """A sentence without an end mark gets a full stop."""
    assert with_full_stop(sentence) == ended_sentence


@pytest.mark.parametrize(
    ("value", "formatted"),
    [(0.0512, "0.0512"), (0.5, "0.5"), (18.24, "18.2"), (99.96, "100"), (1043.4, "1043"), (2e6, "2000000")],
)
def test_significant_digits(value: float, formatted: str) -> None:
    """A number has three significant digits and no exponent, even above 1,000."""
    assert significant(value) == formatted
