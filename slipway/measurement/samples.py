"""The raw samples of one route × identity × cache class, and the verdict based on them.

Samples of different cache classes are never mixed: a hit and a miss measure two different machines.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from slipway.core.frozen import FrozenModel, RouteAs

CacheClass = Literal["hit", "miss", "pass"]
VerdictWord = Literal["improved", "same", "regressed", "inconclusive", "environment-shift"]


class Sample(NamedTuple):
    """One timed request of a burst; `latency_ms` counts from `due_s`, the time at which the request was due (open loop).

    `error` is empty for a successful response, otherwise "timeout", "dropped", "connection", "status 500", …; the latency of a
    sample with an error is stored but never judged.
    """

    burst: int
    due_s: float
    latency_ms: float
    error: str = ""


class Measurement(BaseModel):
    """All samples of one route × identity × cache class, in the order in which they were due."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str
    identity: str
    cache: CacheClass
    samples: tuple[Sample, ...]


class MeasuredWindow(BaseModel):
    """The result of one measure step: a window of `seconds`, cut into `bursts` of `requests` per route."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_at: str  # ISO 8601, UTC
    seconds: float
    bursts: int
    requests: int
    measurements: tuple[Measurement, ...]
    warm_up_s: float = 0.0  # how long the routes were read before the first sample
    unsettled: tuple[str, ...] = ()  # routes whose latency was still falling at the end of the warm-up
    discarded: tuple[str, ...] = ()  # why the first window was discarded, one sentence per route; empty if it was not


class MonitorSample(NamedTuple):
    """One request of the monitor: its due time in seconds from the start of the step, and its latency."""

    at_s: float
    route: str
    identity: str
    latency_ms: float
    error: str = ""


class MonitorResult(BaseModel):
    """The requests of the monitor while one step was running; `because` is the reason if the service was not monitored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    started_at: datetime
    seconds: float
    glimpses: tuple[MonitorSample, ...] = ()
    because: str = ""


class Interval(BaseModel):
    """A ratio after / before with its confidence interval; 0.5 means twice as fast."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float
    low: float
    high: float
    confidence: float


class TargetVerdict(BaseModel):
    """The verdict on one target, with every number that it is based on (times in ms)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str
    identity: str
    cache: CacheClass | None
    verdict: VerdictWord
    sentence: str
    median_before_ms: float | None = None
    median_after_ms: float | None = None
    p90_before_ms: float | None = None
    p90_after_ms: float | None = None
    median: Interval | None = None
    p90: Interval | None = None
    p_value: float | None = None  # of the median; both are adjusted for multiple comparisons (Holm)
    p90_p_value: float | None = None
    control_before_ms: float | None = None
    control_after_ms: float | None = None
    control_ratio: float | None = None
    bursts_before: int = 0
    bursts_after: int = 0
    requests_before: int = 0
    requests_after: int = 0
    errors_before: int = 0
    errors_after: int = 0
    hit_ratio_before: float | None = None
    hit_ratio_after: float | None = None


class Verdict(BaseModel):
    """The overall verdict, and the verdict on each target, worst first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: VerdictWord
    sentence: str
    margin: float
    alpha: float
    targets: tuple[TargetVerdict, ...]


class ServiceMeasured(FrozenModel):
    """One line of `measure-service`: a summary of one route, identity and cache class (times in ms)."""

    target: RouteAs
    cache: CacheClass
    samples: int
    errors: int
    median_ms: float | None
    p90_ms: float | None
