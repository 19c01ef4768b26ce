"""The history of a service's measurements: one point per window, the changes, and drift from the baseline."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from slipway.core.formatting import significant
from slipway.core.frozen import FrozenModel
from slipway.measurement.samples import CacheClass


class Point(FrozenModel):
    """One window of one route × identity × cache class without raw samples (times in ms, None without an error-free sample)."""

    run_id: str
    at: datetime
    route: str
    identity: str
    cache: CacheClass
    samples: int
    errors: int
    median_ms: float | None
    p90_ms: float | None

    @property
    def series(self) -> tuple[str, str, str]:
        """Return the key of the series that the point belongs to."""
        return self.route, self.identity, self.cache


class Mark(FrozenModel):
    """A change to the service that was kept or rolled back."""

    at: datetime
    change: str
    came_of_it: Literal["kept", "rolled back"]


class Series(FrozenModel):
    """The points of one series: number of windows, median of the baseline and of the newest windows (ms; None if too few)."""

    route: str
    identity: str
    cache: CacheClass
    windows: int
    baseline_ms: float | None
    baseline_windows: int
    newest_ms: float | None
    drifted: Literal["", "slower", "faster"] = ""
    since_newest: bool = False  # the drift began with the newest window

    @property
    def key(self) -> tuple[str, str, str]:
        """Return the same key as `Point.series`."""
        return self.route, self.identity, self.cache

    @property
    def name(self) -> str:
        """Return the name to display."""
        return f"{self.route} as {self.identity} ({self.cache})"

    @property
    def sentence(self) -> str:
        """Return a sentence on the drift and the medians."""
        if self.baseline_ms is None or self.newest_ms is None:
            return f"{self.name}: no baseline yet, {self.windows} {'window' if self.windows == 1 else 'windows'}."
        moved = f"{significant(self.baseline_ms)} → {significant(self.newest_ms)} ms"
        state = f"{self.drifted} than its baseline of {self.baseline_windows} windows" if self.drifted else "as before"
        return f"{self.name}: {state}, median {moved}."


class Trend(FrozenModel):
    """The history after a measurement: every series, the changes and the chart."""

    service: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...]
    picture_svg: str = ""

    @property
    def newly_drifted(self) -> tuple[Series, ...]:
        """Return the series whose drift began with the newest window."""
        return tuple(series for series in self.series if series.since_newest)
