"""Parse `Retry-After`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slipway.core.retry_after import retry_after_s

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Sat, 28 Nov 2026 12:00:30 GMT", 30.0),
        ("Saturday, 28-Nov-26 12:01:00 GMT", 60.0),
        ("Sat Nov 28 12:00:05 2026", 5.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 28 Nov 2026 13:00:10 +0100", 10.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("Sat, 99 Nov 2026 12:00:30 GMT", None),
        ("Sat, 28 Nov 2026 25:00:00 GMT", None),
    ],
)
def test_seconds_to_wait(value: str, seconds: float | None) -> None:
    """Seconds and all three date formats are parsed; any other value returns None."""
    assert retry_after_s(value, NOW) == seconds
