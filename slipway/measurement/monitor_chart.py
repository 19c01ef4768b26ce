"""Draw the panel of the monitor: one dot per request while a change was made, and the steps as bands behind the dots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slipway.measurement.charts import AFTER, BEFORE, INK, shorten, style_axes
from slipway.measurement.samples import MonitorResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^Dv*"
COLOURS = (AFTER, BEFORE, INK)
WIDE_SPREAD = 8.0  # slowest / fastest; above this ratio the axis is logarithmic, so that more than the tail is visible


def draw_monitor_panel(axes: Axes, results: Sequence[MonitorResult]) -> None:
    """Draw one panel: seconds since the start of the first step, latency in ms, and each error as a cross at the top."""
    style_axes(axes)
    axes.set_title("While the change was made", loc="left", color=INK, fontsize=10)
    axes.set_xlabel("seconds", color=INK, loc="right")
    axes.set_ylabel("latency (ms)", color=INK)
    began = results[0].started_at
    timed = [((step.started_at - began).total_seconds(), step) for step in results]
    for start, step in timed:
        _band(axes, start, step)
    _routes(axes, timed)
    _errors(axes, [start + sample.at_s for start, step in timed for sample in step.glimpses if sample.error])
    _scale(axes, [sample.latency_ms for step in results for sample in step.glimpses if not sample.error])
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(0.0, -0.14), borderaxespad=0, ncols=2, frameon=False, labelcolor=INK
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a route may contain a dollar sign


def _routes(axes: Axes, timed: Sequence[tuple[float, MonitorResult]]) -> None:
    routes = dict.fromkeys((sample.route, sample.identity) for _, step in timed for sample in step.glimpses)
    for number, (route, identity) in enumerate(routes):
        points = [
            (start + sample.at_s, sample.latency_ms)
            for start, step in timed
            for sample in step.glimpses
            if (sample.route, sample.identity) == (route, identity) and not sample.error
        ]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            s=12,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=shorten(f"{route} as {identity}"),
        )


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
        transform = axes.get_xaxis_transform()
        axes.scatter(times, [0.94] * len(times), s=30, color=BEFORE, marker="x", transform=transform, label="failed")


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
