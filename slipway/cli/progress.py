"""A run's progress as lines of text: each step when it begins and ends, then what came of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slipway.measurement.history import Trend

Document = dict[str, Any]
GOOD = ("COMPLETED",)


class Progress:
    """Tells the news of a run, each once; show it the run as often as you like."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: set[str] = set()
        self._rows_told: tuple[str, int] | None = None

    def show(self, run: Document) -> None:
        """Say what is new."""
        for step in run["steps"]:
            self._show_step(step["name"], step["state"]["type"], step["seconds"] or 0.0)
        if run.get("backfill"):
            self._show_rows(run["backfill"])
        if run["state"]["name"] == "Suspended":
            for line in [*finding_lines(run), asked_for(run["id"])]:
                self._once(line, line)

    def _show_rows(self, progress: Document) -> None:
        """A line for each tenth of the rows, and whenever the backfill holds or goes on."""
        tenth = 10 * progress["rows_passed"] // max(progress["total"], 1)
        if self._rows_told != (progress["held_because"], tenth):
            self._rows_told = (progress["held_because"], tenth)
            self._say(rows_line(progress))

    def _show_step(self, name: str, state: str, seconds: float) -> None:
        if state == "RUNNING":
            self._once(f"{name} …", f"begun {name}")
        elif state == "COMPLETED":
            self._once(f"{name}: done in {seconds:.1f} s", f"ended {name}")
        elif state in ("FAILED", "CRASHED", "CANCELLED"):
            self._once(f"{name}: {state.lower()}", f"{state} {name}")  # and told again when a repeat ends well

    def _once(self, line: str, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._say(line)


def run_line(run: Document) -> str:
    """A run in a list; one that is only scheduled has a name that Prefect made up, so its job and service are told."""
    named = (
        run["name"]
        if run["state"]["type"] != "SCHEDULED"
        else " ".join(part for part in (run["job"], run["change"] or run["parameters"].get("service")) if part)
    )
    return f"{run['id']}  {run['created'][:19]}  {run['state']['name']:<12}  {named}"


def rows_line(progress: Document) -> str:
    """`120,000 of about 1,000,000 rows, 24,000 rows/s, 37 s to go; holding: the replication lag takes 31 s`."""
    about = "" if progress["total_is_exact"] else "about "
    skipped = f" ({progress['rows_skipped']:,} skipped)" if progress["rows_skipped"] else ""
    parts = [f"{progress['rows_passed']:,} of {about}{progress['total']:,} rows{skipped}"]
    if progress["rows_per_s"]:
        parts.append(f"{progress['rows_per_s']:,.0f} rows/s")
    parts.append("time to go unknown" if progress["eta_s"] is None else f"{progress['eta_s']:,.0f} s to go")
    held = f"; holding: {progress['held_because']}" if progress["held_because"] else ""
    return ", ".join(parts) + held


def ending(run: Document) -> list[str]:
    """What came of a run that has ended: its state, why, and the failure in the words of the step."""
    state = run["state"]
    lines = [f"{run['name']}: {state['name']}"]
    lines += audit_lines(run)
    if run["decision"]:
        lines.append(f"{run['decision']['word']}: {run['decision']['reason']}")
    if state["name"] != "Suspended":  # then they are told where the run waits
        lines += finding_lines(run)
    for failure in run["failures"]:
        safe = "A retry is safe." if failure["retry_is_safe"] else "Do not retry before a person has looked."
        lines.append(f"{failure['step']}: {failure['failed']} Expected: {failure['expected']} {safe}")
    if not run["decision"] and not run["failures"] and state["message"]:
        lines.append(str(state["message"]))
    return lines


def audit_lines(run: Document) -> list[str]:
    """The checklist of an audit: a line an item, below it the evidence, and for a failure how to mend it."""
    lines = []
    for item in (run.get("audit") or {}).get("items", []):
        result = f"{item['result']} (new)" if item["new"] else item["result"]
        lines.append(f"{result:<12} {item['code']}: {item['summary']}")
        lines += [f"    {line}" for line in item["evidence"]]
        lines += [f"    mend: {item['mend']}"] if item["mend"] else []
    return lines


def finding_lines(run: Document) -> list[str]:
    """What the rehearsal of a run found."""
    found = (run.get("rehearsal") or {}).get("findings", [])
    return [f"{finding['level']} {finding['code']}: {finding['summary']} {finding['explanation']}" for finding in found]


def asked_for(run_id: str) -> str:
    """How a person answers a run that waits for approval."""
    return f"waits for a yes or a no: slipway approve {run_id} --why REASON, or slipway reject"


def succeeded(run: Document) -> bool:
    """Whether a run did what was asked: it completed, and a change that was to be shipped was kept."""
    decision = run["decision"]
    return run["state"]["type"] in GOOD and (decision is None or decision["word"] == "keep")


def trend_lines(found: Document) -> list[str]:
    """A service's history as lines: a series with a sparkline of its medians, oldest first, and the changes."""
    trend = Trend.model_validate({name: found[name] for name in ("service", "series", "marks")})
    if not trend.series:
        return [f"{trend.service} has not been measured yet: slipway measure {trend.service}"]
    lines = []
    for series in trend.series:
        mine = [p["median_ms"] for p in found["points"] if (p["route"], p["identity"], p["cache"]) == series.key]
        lines += [series.sentence, f"    {sparkline([median for median in mine if median is not None])}"]
    return lines + [f"{mark.at:%Y-%m-%d %H:%M} UTC  {mark.change} {mark.came_of_it}" for mark in trend.marks]


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Eight heights from nothing to the greatest value, the newest `width` values."""
    newest = values[-width:]
    top = max(newest, default=0.0)
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * value / top)) if top else 0] for value in newest)
