"""The history of a service's measurements: a point a window, the changes beside them, and where a baseline has drifted."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from slipway.core.formatting import significant
from slipway.core.frozen import FrozenModel
from slipway.measurement.samples import CacheClass


class Point(FrozenModel):
    """One window of one route × identity × cache class, without its raw samples (times in ms, None without a good one)."""

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
        """What it is a point of."""
        return self.route, self.identity, self.cache


class Mark(FrozenModel):
    """A change that was kept on the service, or rolled back."""

    at: datetime
    change: str
    came_of_it: Literal["kept", "rolled back"]


class Series(FrozenModel):
    """One line: how many windows there are, the baseline's median and the newest windows' (ms; None for too few)."""

    route: str
    identity: str
    cache: CacheClass
    windows: int
    baseline_ms: float | None
    baseline_windows: int
    newest_ms: float | None
    drifted: Literal["", "slower", "faster"] = ""
    since_newest: bool = False  # it has drifted with the newest window, and had not before

    @property
    def key(self) -> tuple[str, str, str]:
        """As its points say it."""
        return self.route, self.identity, self.cache

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.route} as {self.identity} ({self.cache})"

    @property
    def sentence(self) -> str:
        """What is to be said of it."""
        if self.baseline_ms is None or self.newest_ms is None:
            return f"{self.name}: no baseline yet, {self.windows} {'window' if self.windows == 1 else 'windows'}."
        moved = f"{significant(self.baseline_ms)} → {significant(self.newest_ms)} ms"
        how = f"{self.drifted} than its baseline of {self.baseline_windows} windows" if self.drifted else "as before"
        return f"{self.name}: {how}, median {moved}."


class Trend(FrozenModel):
    """What a measurement adds to the history: every series, the changes beside them, and the picture."""

    service: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...]
    picture_svg: str = ""

    @property
    def newly_drifted(self) -> tuple[Series, ...]:
        """The series whose drift begins with the newest window."""
        return tuple(series for series in self.series if series.since_newest)
