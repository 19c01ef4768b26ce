"""A clock that only the test moves, in place of a module's `time`."""

from __future__ import annotations


class Clock:
    """A clock that stops until `forward` moves it."""

    def __init__(self) -> None:
        self._now = 1_000.0

    def monotonic(self) -> float:
        """Return the time in seconds, like `time.monotonic`."""
        return self._now

    def forward(self, seconds: float) -> None:
        """Advance the time."""
        self._now += seconds
