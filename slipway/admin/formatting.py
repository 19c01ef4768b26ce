"""How times, numbers and states are worded on the pages. Pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from slipway.admin.prefect_api import Document

GOOD = {"Kept", "Passed", "Completed", "Backfilled", "Rehearsed"}
BAD = {"FAILED", "CRASHED"}


def moment(value: str) -> str:
    """A time as the pages write it; a script puts it into the reader's own zone."""
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def took(run: Document) -> str:
    """How long a run was at it; empty before its end."""
    if not run["started"] or not run["ended"]:
        return ""
    return seconds((datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])).total_seconds())


def seconds(found: float | None) -> str:
    """A time that was taken."""
    if found is None:
        return ""
    return f"{found:.1f} s" if found < 120 else f"{found / 60:.0f} min"


def roughly(seconds: float) -> str:
    """A time to go, as precise as such a guess can be."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 100:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def spoken(name: str) -> str:
    """The name of a state as words: `RollBackFailed` is `Roll back failed`; what is no such name stays as it is."""
    if not re.fullmatch(r"([A-Z][a-z]+){2,}", name):
        return name.capitalize() if re.fullmatch(r"[A-Z]+", name) else name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def label(name: str) -> str:
    """A parameter's name as the label of its field."""
    return name.replace("_", " ").strip().capitalize() or name


def told(value: Any) -> str:
    """A value as a person would write it: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell(value: Any) -> str:
    """A number, a word, or who reads a route, in a table of measurements."""
    if isinstance(value, dict):
        return f"{value['route']} as {value['identity']}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def mood(state: Document) -> str:
    """How a state is coloured; its words say the same."""
    if state["type"] in BAD or state["name"] in ("GaveUp", "RollBackFailed"):
        return "bad"
    if state["type"] == "COMPLETED":
        return "good" if state["name"] in GOOD else "odd"
    return "odd" if state["type"] in ("PAUSED", "CANCELLED", "CANCELLING") else "busy"
