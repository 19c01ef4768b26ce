"""Draw the chart of before and after: one SVG, one panel per target, the cumulative distribution of latency.

The curves of before and after differ in dashes as well as in colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from slipway.core.formatting import significant
from slipway.measurement.bursts import route_window
from slipway.measurement.charts import AFTER, BEFORE, INK, render_svg, shorten, style_axes, with_text_alternative
from slipway.measurement.formatting import interval
from slipway.measurement.monitor_chart import draw_monitor_panel
from slipway.measurement.monitor_summary import sentence
from slipway.measurement.samples import MeasuredWindow, MonitorResult, TargetVerdict, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 150  # per curve; more are not visible at this size
WIDE_SPREAD = 8.0  # slowest / fastest; above this ratio the axis is logarithmic, so that more than the tail is visible


def before_after_svg(
    before: MeasuredWindow, after: MeasuredWindow, verdict: Verdict, monitor_results: Sequence[MonitorResult] = ()
) -> str:
    """Return a standalone `<svg>` element for a page or a file. The same input gives the same bytes.

    There is one panel per target, and one more for the requests of the monitor if it ran while the change was made. `<title>`
    and `<desc>` (the sentences of the verdict) describe the chart for screen readers. The SVG has no script and loads
    nothing. Latencies are in ms, of the judged cache class, without errors.
    """
    monitored = [step for step in monitor_results if step.glimpses]
    targets = max(1, len(verdict.targets))

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(targets + bool(monitored), squeeze=False)[:, 0]
        for axes, target in zip(all_axes, verdict.targets, strict=False):
            _draw(axes, target, before, after)
        if monitored:
            draw_monitor_panel(all_axes[-1], monitored)

    sentences = [target.sentence for target in verdict.targets] or [verdict.sentence]
    svg = render_svg(draw, (7.2, 2.9 * (targets + bool(monitored))))
    description = " ".join([*sentences, *(sentence(step) for step in monitored)])
    return with_text_alternative(svg, f"Latency before and after: {verdict.verdict}", description)


def _draw(axes: Axes, target: TargetVerdict, before: MeasuredWindow, after: MeasuredWindow) -> None:
    curves = [_latencies(window, target) for window in (before, after)]
    axes.set_title(_heading(target), loc="left", color=INK, fontsize=10, parse_math=False)
    axes.set_xlabel("latency (ms)", color=INK, loc="right")
    axes.set_ylabel("requests (%)", color=INK)
    _scale(axes, sorted(curves[0] + curves[1]))
    for latencies, name, colour, dashes in zip(curves, ("before", "after"), (BEFORE, AFTER), ("--", "-"), strict=True):
        if latencies:
            _curve(axes, latencies, name, colour, dashes)
    if any(curves):
        below = (0.0, -0.14)
        axes.legend(loc="upper left", bbox_to_anchor=below, borderaxespad=0, ncols=2, frameon=False, labelcolor=INK)
    else:
        axes.text(0.5, 0.5, "no samples", color=INK, ha="center", va="center", transform=axes.transAxes)


def _latencies(window: MeasuredWindow, target: TargetVerdict) -> list[float]:
    return route_window(window, target.route, target.identity).latencies(target.cache) if target.cache else []


def _heading(target: TargetVerdict) -> str:
    cache = f" ({target.cache})" if target.cache else ""
    ratio = f"\n{interval(target.median)} at the median" if target.median else ""
    return f"{shorten(f'{target.route} as {target.identity}')}{cache}: {target.verdict}{ratio}"


def _curve(axes: Axes, latencies: Sequence[float], name: str, colour: str, dashes: str) -> None:
    """Draw the empirical distribution with at most `POINTS` points at even shares, and mark its median."""
    ranked = sorted(latencies)
    points = min(POINTS, len(ranked))
    ranks = [round(number * (len(ranked) - 1) / max(1, points - 1)) for number in range(points)]
    middle = median(ranked)
    axes.plot(
        [ranked[0]] + [ranked[rank] for rank in ranks],
        [0.0] + [100 * (rank + 1) / len(ranked) for rank in ranks],
        color=colour,
        linestyle=dashes,
        linewidth=1.8,
        label=f"{name}, median {significant(middle)} ms",
    )
    axes.plot([middle, middle], [0, 50], color=colour, linestyle=":", linewidth=1.2)
    axes.plot([middle], [50], color=colour, marker="o", markersize=5)


def _scale(axes: Axes, ranked: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_ylim(0, 100)
    style_axes(axes)
    if ranked and ranked[-1] > WIDE_SPREAD * ranked[0]:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
