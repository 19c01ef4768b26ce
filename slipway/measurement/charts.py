"""What all charts share: colours, axes, and the conversion of a figure to an accessible SVG.

matplotlib is imported inside the functions, because the import is slow. Its object API draws without a global figure. The
SVG writer reads its settings only from rcParams; they are set for one call. Colours are mid-tones on a transparent
background, so the same chart is readable on a light page and on a dark page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#767676"  # contrast ratio 4.5 to 1 on white and on black
BEFORE = "#c96a1b"
AFTER = "#2a82c9"
SETTINGS: Any = {
    "svg.fonttype": "none",  # keep text as text
    "svg.hashsalt": "slipway",  # make ids reproducible
    "font.size": 10.0,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
}
PAGE_WIDE_STYLE = re.compile(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>")  # would apply to the whole page
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def render_svg(draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    """Return the SVG file of a figure of the given size (inches) that `draw` fills."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    return buffer.getvalue()


def shorten(name: str) -> str:
    """Return a name short enough for the title of a panel."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def style_axes(axes: Axes) -> None:
    """Style lines and ticks so that they are readable on light and on dark pages."""
    axes.tick_params(colors=INK, which="both")
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(INK)


def with_text_alternative(svg: str, title: str, description: str) -> str:
    """Return only the `<svg>` element, with title and description as text alternative (SVG 2, section 5.8)."""
    opening = re.search(r"<svg [^>]*>", svg)
    assert opening is not None
    labelled = opening.group()[:-1] + ' role="img" stroke-linejoin="round">'
    drawing = PAGE_WIDE_STYLE.sub("", svg[opening.end() :])
    return f"{labelled}\n<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>{drawing}"
