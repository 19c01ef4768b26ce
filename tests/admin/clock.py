"""A clock that only the test moves, in place of a module's `time`."""

from __future__ import annotations


class Clock:
    """Stands still until `forward` moves it."""

    def __init__(self) -> None:
        self._now = 1_000.0

    def monotonic(self) -> float:
        """The time in seconds, as `time.monotonic` returns it."""
        return self._now

    def forward(self, seconds: float) -> None:
        """Move the time on."""
        self._now += seconds
