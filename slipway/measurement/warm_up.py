"""Decide whether the latency of a service has settled, and whether a window is cold. Pure.

A service that has just started, or whose caches are empty, gets faster while it is read. A window measured during that
time makes all later windows look improved, or makes the control appear to change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from slipway.core.formatting import milliseconds
from slipway.measurement.samples import MeasuredWindow, Measurement

BURSTS = 3  # bursts in a row that must not get faster
FALL = 0.10  # a smaller fall of the median, as a share, is noise
FLOOR_MS = 0.5  # a smaller fall in milliseconds is noise, too
COLD_RATIO = 2.0  # the first quarter of a cold window is this much slower than its second half


def settled(medians: Sequence[float]) -> bool:
    """Return whether latency has stopped falling: the medians (ms) of the last three bursts, oldest first."""
    last = medians[-BURSTS:]
    return len(last) == BURSTS and not any(
        _falls(earlier, later) for number, earlier in enumerate(last) for later in last[number + 1 :]
    )


def _falls(earlier_ms: float, later_ms: float) -> bool:
    return earlier_ms - later_ms >= FLOOR_MS and later_ms < earlier_ms * (1 - FALL)


def cold_routes(window: MeasuredWindow) -> tuple[str, ...]:
    """Return one sentence for each route that got faster within the window, as a service does while it warms up.

    Compares the median of the burst medians in the first quarter with that in the second half; error-free responses only.
    """
    return tuple(reason for measurement in window.measurements if (reason := _cold_reason(measurement, window.bursts)))


def _cold_reason(measurement: Measurement, bursts: int) -> str:
    medians = _medians(measurement)
    early = [value for burst, value in medians.items() if burst < bursts / 4]
    late = [value for burst, value in medians.items() if burst >= bursts / 2]
    if not early or not late:
        return ""
    early_ms, late_ms = median(early), median(late)
    if early_ms - late_ms < FLOOR_MS or early_ms < COLD_RATIO * late_ms:
        return ""
    name = f"{measurement.route} as {measurement.identity} ({measurement.cache})"
    return f"{name} got faster within the window, {milliseconds(early_ms, late_ms)}"


def _medians(measurement: Measurement) -> dict[int, float]:
    bursts: defaultdict[int, list[float]] = defaultdict(list)
    for sample in measurement.samples:
        if not sample.error:
            bursts[sample.burst].append(sample.latency_ms)
    return {burst: median(latencies) for burst, latencies in bursts.items()}


def remarks(window: MeasuredWindow) -> list[str]:
    """Return sentences about the warm-up of the window for its readers; an empty list if there was no warm-up."""
    sentences = []
    if window.discarded:
        sentences.append(
            f"The first window was discarded, because the service was still warming up: {'; '.join(window.discarded)}."
        )
    if window.warm_up_s:
        sentences.append(f"Warmed up for {window.warm_up_s:.1f} s.")
    if window.unsettled:
        sentences.append(f"Latency was still falling when the window began: {', '.join(window.unsettled)}.")
    return sentences
