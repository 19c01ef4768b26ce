"""Test that the chart is one well-formed, self-contained SVG element that screen readers can read."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from slipway.config.change import Pair
from slipway.measurement.comparison_chart import before_after_svg
from slipway.measurement.judge import judge
from slipway.measurement.samples import MeasuredWindow, Measurement, MonitorResult, MonitorSample, Sample

SVG = "{http://www.w3.org/2000/svg}"
HARMFUL = "/search?q=<script>alert(1)</script>&cost=$5_$6"
PAIRS = [
    Pair(route=route, identity="customer", control_route="/products/1", control_identity="customer")
    for route in ("/orders", HARMFUL)
]


def window(seed: str, **ms: float) -> MeasuredWindow:
    rng = random.Random(seed)
    measurements = [
        Measurement(
            route=route,
            identity="customer",
            cache="pass",
            samples=tuple(Sample(n // 40, n / 40, level * rng.lognormvariate(0, spread)) for n in range(800)),
        )
        for route, level, spread in (
            ("/orders", ms.get("orders", 18.0), 0.5),
            (HARMFUL, ms.get("search", 9.0), 0.1),
            ("/products/1", 8.0, 0.1),
        )
    ]
    return MeasuredWindow(started_at="", seconds=20, bursts=20, requests=40, measurements=tuple(measurements))


@pytest.fixture(scope="module")
def picture() -> str:
    before, after = window("before"), window("after", orders=3.1)
    return before_after_svg(before, after, judge(before, after, PAIRS))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_picture_is_one_svg_element(picture: str) -> None:
    """The chart is well-formed XML without a prologue, small enough for a page."""
    root = ElementTree.fromstring(picture)
    assert picture.startswith("<svg ")
    assert root.tag == f"{SVG}svg"
    assert len(picture) < 60_000


def test_picture_has_a_text_alternative(picture: str) -> None:
    """Title and description come first and describe the chart."""
    root = ElementTree.fromstring(picture)
    assert root.get("role") == "img"
    assert [element.tag for element in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text == "Latency before and after: improved"
    assert "/orders as customer: median" in (root[1].text or "")


def test_picture_shows_ratio_units_and_names(picture: str) -> None:
    """Every panel has the target, its verdict, the ratio with its interval, units and a legend, as real text."""
    written = texts(picture)
    joined = "\n".join(written)
    assert "/orders as customer (pass): improved" in joined
    assert "at 95 %) at the median" in joined
    assert written.count("latency (ms)") == written.count("requests (%)") == 2
    assert "before, median" in joined
    assert "after, median" in joined


def test_picture_has_no_script_and_no_external_reference(picture: str) -> None:
    """The chart has no script, no page-wide style and no external reference; special characters of a route stay text."""
    root = ElementTree.fromstring(picture)
    tags = {element.tag for element in root.iter()}
    links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert not tags & {f"{SVG}script", f"{SVG}style", f"{SVG}image", f"{SVG}foreignObject"}
    assert all(link.startswith("#") for link in links)
    assert "url(http" not in picture
    assert any(HARMFUL in text for text in texts(picture))


def test_picture_is_deterministic(picture: str) -> None:
    """The same measurements give the same bytes, without a date."""
    before, after = window("before"), window("after", orders=3.1)
    assert before_after_svg(before, after, judge(before, after, PAIRS)) == picture


def test_missing_samples_are_drawn_as_missing() -> None:
    """A target without samples has a panel with "no samples"; a verdict without targets still gives a chart."""
    empty = MeasuredWindow(started_at="", seconds=0, bursts=0, requests=0, measurements=())
    assert "no samples" in texts(before_after_svg(empty, empty, judge(empty, empty, PAIRS)))
    ElementTree.fromstring(before_after_svg(empty, empty, judge(empty, empty, [])))


def test_import_does_not_load_matplotlib() -> None:
    """Importing the module does not import matplotlib."""
    code = "import sys, slipway.measurement.comparison_chart; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_picture_shows_the_monitor_results() -> None:
    """With monitor results there is one more panel with steps, routes and errors, and sentences in the description."""
    before, after = window("before"), window("after", orders=3.1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    steps = [
        MonitorResult(
            step=step,
            started_at=start + timedelta(seconds=at),
            seconds=4,
            glimpses=(
                MonitorSample(0.0, "/orders", "customer", 18.0),
                MonitorSample(0.2, HARMFUL, "customer", 400.0),
                MonitorSample(0.4, "/orders", "customer", 0.1, "status 500"),
            ),
        )
        for step, at in (("the migration", 0), ("the purge", 5))
    ]
    unmonitored = MonitorResult(step="the purge", started_at=start, seconds=1, because="another probe")
    verdict = judge(before, after, PAIRS)
    picture = before_after_svg(before, after, verdict, [*steps, unmonitored])
    drawn_texts = set(texts(picture))
    assert {"While the change was made", "the migration", "the purge", "/orders as customer", "failed"} <= drawn_texts
    description = ElementTree.fromstring(picture).findtext(f"{SVG}desc") or ""
    assert "During the migration (4.0 s) /orders as customer: median 18 ms" in description
    assert "<script>alert" not in picture
    assert before_after_svg(before, after, verdict, [unmonitored]) == before_after_svg(before, after, verdict)
