"""What all pictures share: the ink, the frame, and how a figure becomes an SVG that can be read aloud.

matplotlib is imported inside, being slow; its object API draws without any global figure. The settings of the SVG
writer exist only as rcParams and are set for the one call. Colours are mid-tones on a transparent ground, so that the
same picture reads on a light page and on a dark one.
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

INK = "#767676"  # as dark on white as it is light on black, 4.5 to 1
BEFORE = "#c96a1b"
AFTER = "#2a82c9"
SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "slipway",  # the same ids every time
    "font.size": 10.0,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
}
LEAKING_STYLE = re.compile(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>")  # would style the whole page around it
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg_of(draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    """The SVG file of a figure of this size (inches) that `draw` fills."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        written = StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=NO_METADATA)
    return written.getvalue()


def short(name: str) -> str:
    """A name that fits above a panel."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def frame(axes: Axes) -> None:
    """Lines and ticks that read on light and on dark."""
    axes.tick_params(colors=INK, which="both")
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(INK)


def described(svg: str, title: str, description: str) -> str:
    """Return only the `<svg>` element, with the text alternative where a reader looks for it (SVG 2, section 5.8)."""
    opening = re.search(r"<svg [^>]*>", svg)
    assert opening is not None
    labelled = opening.group()[:-1] + ' role="img" stroke-linejoin="round">'
    drawing = LEAKING_STYLE.sub("", svg[opening.end() :])
    return f"{labelled}\n<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>{drawing}"
