"""Sizes and times in words."""

import pytest

from slipway.databases.sizes import bytes_in_words, rows_in_words, seconds_in_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.21, "0.2 s"), (89, "89 s"), (90, "2 min"), (5_399, "90 min"), (5_400, "1.5 h")]
)
def test_seconds(seconds: float, words: str) -> None:
    """In the unit in which one would say it."""
    assert seconds_in_words(seconds) == words


def test_rows_and_bytes() -> None:
    """Powers of ten."""
    assert [rows_in_words(rows) for rows in (1, 7, 12_340, 1e6)] == ["1 row", "7 rows", "12.3 k rows", "1.0 M rows"]
    assert [bytes_in_words(size) for size in (8_000, 1_200_000, 3_400_000_000)] == ["8 kB", "1.2 MB", "3.4 GB"]
