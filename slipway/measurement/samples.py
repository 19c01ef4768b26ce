"""Measurements: the raw samples of one route × identity × cache class, and the verdict drawn from them.

Samples of different cache classes are never pooled: a hit and a miss measure two different machines.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from slipway.core.frozen import FrozenModel, RouteAs

CacheClass = Literal["hit", "miss", "pass"]
VerdictWord = Literal["improved", "same", "regressed", "inconclusive", "environment-shift"]


class Sample(NamedTuple):
    """One timed request of a burst; `latency_ms` counts from `due_s`, the moment it was due (open loop).

    `error` is empty for an answer that counts, otherwise one of "timeout", "dropped", "connection", "status 500", …;
    such a sample's latency is kept and never judged.
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
    """Everything that one measure step saw: a window of `seconds`, cut into `bursts` of `requests` a route each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_at: str  # ISO 8601, UTC
    seconds: float
    bursts: int
    requests: int
    measurements: tuple[Measurement, ...]
    warm_up_s: float = 0.0  # how long the routes were read before the first sample
    unsettled: tuple[str, ...] = ()  # routes whose latency was still falling at the end of the warm-up
    discarded: tuple[str, ...] = ()  # why a first window was discarded, a sentence for each route; empty if none was


class MonitorSample(NamedTuple):
    """One request of somebody who watches: when it was due, in seconds from the start of the step, and how long it took."""

    at_s: float
    route: str
    identity: str
    latency_ms: float
    error: str = ""


class MonitorResult(BaseModel):
    """What visitors met while one step was at work; `because` says why nobody watched, where that is so."""

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
    """What is said of one target, with every number that it rests on (times in ms)."""

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
    p_value: float | None = None  # of the median; both adjusted for being many (Holm)
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
    """The verdict over all targets, worst first, and each target's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: VerdictWord
    sentence: str
    margin: float
    alpha: float
    targets: tuple[TargetVerdict, ...]


class ServiceMeasured(FrozenModel):
    """One line a watched route of `measure-service` (times in ms)."""

    target: RouteAs
    cache: CacheClass
    samples: int
    errors: int
    median_ms: float | None
    p90_ms: float | None
