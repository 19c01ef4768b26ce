"""The picture of before and after: one SVG, one panel a target, the shares of requests that were faster than a time.

Before and after differ in dashes as well as in colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from slipway.core.formatting import significant
from slipway.measurement.bursts import side
from slipway.measurement.charts import AFTER, BEFORE, INK, described, frame, short, svg_of
from slipway.measurement.formatting import interval
from slipway.measurement.monitor_chart import draw_watched
from slipway.measurement.monitor_summary import sentence
from slipway.measurement.samples import MeasuredWindow, MonitorResult, TargetVerdict, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 150  # a curve; more cannot be seen at this size
WIDE_SPREAD = 8.0  # slowest over fastest, beyond which a linear axis shows nothing but its tail


def before_after_svg(
    before: MeasuredWindow, after: MeasuredWindow, verdict: Verdict, watched: Sequence[MonitorResult] = ()
) -> str:
    """Return an `<svg>` element of its own, ready to stand in a page or in a file: same input, same bytes.

    A panel a target; and where somebody watched while the change was made, one of what was met then. It has a `<title>`
    and a `<desc>` (the verdict's sentences) for those who cannot see it, no script and nothing that is fetched from
    elsewhere. Latencies are in ms, of the judged cache class, without errors.
    """
    seen = [step for step in watched if step.glimpses]
    targets = max(1, len(verdict.targets))

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(targets + bool(seen), squeeze=False)[:, 0]
        for axes, target in zip(all_axes, verdict.targets, strict=False):
            _draw(axes, target, before, after)
        if seen:
            draw_watched(all_axes[-1], seen)

    sentences = [target.sentence for target in verdict.targets] or [verdict.sentence]
    svg = svg_of(draw, (7.2, 2.9 * (targets + bool(seen))))
    told = " ".join([*sentences, *(sentence(step) for step in seen)])
    return described(svg, f"Latency before and after: {verdict.verdict}", told)


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
    return side(window, target.route, target.identity).latencies(target.cache) if target.cache else []


def _heading(target: TargetVerdict) -> str:
    cache = f" ({target.cache})" if target.cache else ""
    ratio = f"\n{interval(target.median)} at the median" if target.median else ""
    return f"{short(f'{target.route} as {target.identity}')}{cache}: {target.verdict}{ratio}"


def _curve(axes: Axes, latencies: Sequence[float], name: str, colour: str, dashes: str) -> None:
    """Draw the empirical distribution, thinned out evenly over the shares, and mark its median."""
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
    frame(axes)
    if ranked and ranked[-1] > WIDE_SPREAD * ranked[0]:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
