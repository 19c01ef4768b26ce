"""Format times, numbers and states for the pages. Pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from slipway.admin.prefect_api import Document

GOOD = {"Kept", "Passed", "Completed", "Backfilled", "Rehearsed"}
BAD = {"FAILED", "CRASHED"}


def moment(value: str) -> str:
    """Format a time in UTC; a script converts the time to the reader's zone."""
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def took(run: Document) -> str:
    """Format the duration of a run; empty before its end."""
    if not run["started"] or not run["ended"]:
        return ""
    return seconds((datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])).total_seconds())


def seconds(duration: float | None) -> str:
    """Format a duration in seconds."""
    if duration is None:
        return ""
    return f"{duration:.1f} s" if duration < 120 else f"{duration / 60:.0f} min"


def roughly(seconds: float) -> str:
    """Format an estimated remaining time, rounded because the estimate is rough."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 100:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def spoken(name: str) -> str:
    """Format a state name as words: `RollBackFailed` becomes `Roll back failed`. Any other text is returned unchanged."""
    if not re.fullmatch(r"([A-Z][a-z]+){2,}", name):
        return name.capitalize() if re.fullmatch(r"[A-Z]+", name) else name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def label(name: str) -> str:
    """Return the label of a parameter's form field."""
    return name.replace("_", " ").strip().capitalize() or name


def as_text(value: Any) -> str:
    """Format a parameter value: a string unchanged, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell(value: Any) -> str:
    """Format a cell of a measurement table: a number, a word, or a route with its identity."""
    if isinstance(value, dict):
        return f"{value['route']} as {value['identity']}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def mood(state: Document) -> str:
    """Return the colour class of a state. The state's text carries the same information."""
    if state["type"] in BAD or state["name"] in ("GaveUp", "RollBackFailed"):
        return "bad"
    if state["type"] == "COMPLETED":
        return "good" if state["name"] in GOOD else "odd"
    return "odd" if state["type"] in ("PAUSED", "CANCELLED", "CANCELLING") else "busy"
