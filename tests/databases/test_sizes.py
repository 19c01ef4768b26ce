"""Sizes and durations as text."""

import pytest

from slipway.databases.sizes import format_bytes, format_rows, format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.21, "0.2 s"), (89, "89 s"), (90, "2 min"), (5_399, "90 min"), (5_400, "1.5 h")]
)
def test_format_seconds_chooses_the_unit(seconds: float, text: str) -> None:
    """Seconds, minutes or hours, by the size of the number."""
    assert format_seconds(seconds) == text


def test_rows_and_bytes_use_powers_of_ten() -> None:
    """Units are thousands and millions."""
    assert [format_rows(rows) for rows in (1, 7, 12_340, 1e6)] == ["1 row", "7 rows", "12.3 k rows", "1.0 M rows"]
    assert [format_bytes(size) for size in (8_000, 1_200_000, 3_400_000_000)] == ["8 kB", "1.2 MB", "3.4 GB"]
