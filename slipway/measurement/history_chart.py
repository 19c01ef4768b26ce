"""Draw the history of a service: one SVG, one panel per series, median and p90 over time, with the changes marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slipway.measurement.charts import AFTER, BEFORE, INK, render_svg, shorten, style_axes, with_text_alternative
from slipway.measurement.history import Mark, Point, Series, Trend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SERIES = 12  # the table next to the chart has all series


def trend_svg(points: Sequence[Point], trend: Trend) -> str:
    """Return a standalone `<svg>` element, as `comparison_chart.before_after_svg` does; latency in ms, time in UTC."""
    shown = trend.series[:MAX_SERIES]

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(max(1, len(shown)), squeeze=False, sharex=True)[:, 0]
        for axes, series in zip(all_axes, shown, strict=False):
            _draw(axes, series, [point for point in points if point.series == series.key], trend.marks)

    svg = render_svg(draw, (7.2, 1.9 * max(1, len(shown))))
    return with_text_alternative(
        svg, f"The history of {trend.service}", " ".join(series.sentence for series in trend.series)
    )


def _draw(axes: Axes, series: Series, points: Sequence[Point], marks: Sequence[Mark]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    measured = [point for point in points if point.median_ms is not None]
    times = [point.at for point in measured]
    style_axes(axes)
    axes.set_title(shorten(series.name), loc="left", color=INK, fontsize=10, parse_math=False)
    axes.set_ylabel("ms", color=INK)
    axes.plot(times, [p.p90_ms for p in measured], color=BEFORE, linestyle="--", linewidth=1.2, label="p90")  # type: ignore[arg-type]
    axes.plot(times, [p.median_ms for p in measured], color=AFTER, linewidth=1.8, marker=".", label="median")  # type: ignore[arg-type]
    if series.baseline_ms is not None:
        axes.axhline(series.baseline_ms, color=INK, linestyle=":", linewidth=1)
    for mark in marks:
        axes.axvline(mark.at, color=INK, linewidth=1)  # type: ignore[arg-type]
        axes.annotate(
            shorten(f"{mark.change}: {mark.came_of_it}"),
            (mark.at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            color=INK,
            fontsize=8,
            parse_math=False,
        )
    axes.set_ylim(bottom=0)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    if measured:
        axes.legend(loc="lower left", ncols=2, frameon=False, labelcolor=INK)
