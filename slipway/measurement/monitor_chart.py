"""The panel of what visitors met while a change was made: a dot a request, and the steps as bands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slipway.measurement.charts import AFTER, BEFORE, INK, frame, short
from slipway.measurement.samples import MonitorResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^Dv*"
COLOURS = (AFTER, BEFORE, INK)
WIDE_SPREAD = 8.0  # slowest over fastest, beyond which a linear axis shows nothing but its tail


def draw_watched(axes: Axes, watched: Sequence[MonitorResult]) -> None:
    """Fill one panel: seconds since the first step began below, latency in ms; an error is a cross at the top."""
    frame(axes)
    axes.set_title("While the change was made", loc="left", color=INK, fontsize=10)
    axes.set_xlabel("seconds", color=INK, loc="right")
    axes.set_ylabel("latency (ms)", color=INK)
    began = watched[0].started_at
    starts = [(step.started_at - began).total_seconds() for step in watched]
    for start, step in zip(starts, watched, strict=True):
        _band(axes, start, step)
    routes = dict.fromkeys((glimpse.route, glimpse.identity) for step in watched for glimpse in step.glimpses)
    for number, (route, identity) in enumerate(routes):
        points = [
            (start + glimpse.at_s, glimpse.latency_ms)
            for start, step in zip(starts, watched, strict=True)
            for glimpse in step.glimpses
            if (glimpse.route, glimpse.identity) == (route, identity) and not glimpse.error
        ]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            s=12,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=short(f"{route} as {identity}"),
        )
    _errors(axes, [start + g.at_s for start, s in zip(starts, watched, strict=True) for g in s.glimpses if g.error])
    _scale(axes, [glimpse.latency_ms for step in watched for glimpse in step.glimpses if not glimpse.error])
    below = (0.0, -0.14)
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=below, borderaxespad=0, ncols=2, frameon=False, labelcolor=INK
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a route may have a dollar sign


def _band(axes: Axes, start: float, step: MonitorResult) -> None:
    axes.axvspan(start, start + step.seconds, color=INK, alpha=0.12, linewidth=0)
    axes.annotate(
        step.step,
        (start, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -11),
        textcoords="offset points",
        color=INK,
        fontsize=8,
        parse_math=False,
    )


def _errors(axes: Axes, times: Sequence[float]) -> None:
    if times:
        across = axes.get_xaxis_transform()
        axes.scatter(times, [0.94] * len(times), s=30, color=BEFORE, marker="x", transform=across, label="failed")


def _scale(axes: Axes, latencies: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xlim(left=0)
    if latencies and max(latencies) > WIDE_SPREAD * max(min(latencies), 0.01):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
