"""A run's progress as lines of text: the start and end of each step, then the outcome. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slipway.measurement.history import Trend

Document = dict[str, Any]
GOOD = ("COMPLETED",)


class Progress:
    """Prints the news of a run. Each line is printed once, however often `show` is called."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._printed: set[str] = set()
        self._printed_rows: tuple[str, int] | None = None

    def show(self, run: Document) -> None:
        """Print what is new in the run."""
        for step in run["steps"]:
            self._show_step(step["name"], step["state"]["type"], step["seconds"] or 0.0)
        if run.get("backfill"):
            self._show_rows(run["backfill"])
        if run["state"]["name"] == "Suspended":
            for line in [*finding_lines(run), approval_hint(run["id"])]:
                self._print_once(line, line)

    def _show_rows(self, progress: Document) -> None:
        """Print a line for each tenth of the rows, and whenever the backfill holds or continues."""
        tenth = 10 * progress["rows_passed"] // max(progress["total"], 1)
        if self._printed_rows != (progress["held_because"], tenth):
            self._printed_rows = (progress["held_because"], tenth)
            self._print(rows_line(progress))

    def _show_step(self, name: str, state: str, seconds: float) -> None:
        if state == "RUNNING":
            self._print_once(f"{name} …", f"begun {name}")
        elif state == "COMPLETED":
            self._print_once(f"{name}: done in {seconds:.1f} s", f"ended {name}")
        elif state in ("FAILED", "CRASHED", "CANCELLED"):
            self._print_once(
                f"{name}: {state.lower()}", f"{state} {name}"
            )  # the end of a successful repeat is printed, too

    def _print_once(self, line: str, key: str) -> None:
        if key not in self._printed:
            self._printed.add(key)
            self._print(line)


def run_line(run: Document) -> str:
    """Return a run as a line of a list. A scheduled run has a random name from Prefect, so show its job and target instead."""
    name = (
        run["name"]
        if run["state"]["type"] != "SCHEDULED"
        else " ".join(part for part in (run["job"], run["change"] or run["parameters"].get("service")) if part)
    )
    return f"{run['id']}  {run['created'][:19]}  {run['state']['name']:<12}  {name}"


def rows_line(progress: Document) -> str:
    """Return a line: `120,000 of about 1,000,000 rows, 24,000 rows/s, 37 s left; holding: the replication lag is 31 s`."""
    about = "" if progress["total_is_exact"] else "about "
    skipped = f" ({progress['rows_skipped']:,} skipped)" if progress["rows_skipped"] else ""
    parts = [f"{progress['rows_passed']:,} of {about}{progress['total']:,} rows{skipped}"]
    if progress["rows_per_s"]:
        parts.append(f"{progress['rows_per_s']:,.0f} rows/s")
    parts.append("time left unknown" if progress["eta_s"] is None else f"{progress['eta_s']:,.0f} s left")
    held = f"; holding: {progress['held_because']}" if progress["held_because"] else ""
    return ", ".join(parts) + held


def ending(run: Document) -> list[str]:
    """Return the lines for a run that has ended: its state, its audit, the decision with its reason, and the failures."""
    state = run["state"]
    lines = [f"{run['name']}: {state['name']}"]
    lines += audit_lines(run)
    if run["decision"]:
        lines.append(f"{run['decision']['word']}: {run['decision']['reason']}")
    if state["name"] != "Suspended":  # for a suspended run, `Progress` prints the findings
        lines += finding_lines(run)
    for failure in run["failures"]:
        safe = "A retry is safe." if failure["retry_is_safe"] else "A retry is not safe: check the cause first."
        lines.append(f"{failure['step']}: {failure['failed']} Expected: {failure['expected']} {safe}")
    if not run["decision"] and not run["failures"] and state["message"]:
        lines.append(str(state["message"]))
    return lines


def audit_lines(run: Document) -> list[str]:
    """Return the checklist of an audit: a line for each item, its evidence, and the fix for a failure."""
    lines = []
    for item in (run.get("audit") or {}).get("items", []):
        result = f"{item['result']} (new)" if item["new"] else item["result"]
        lines.append(f"{result:<12} {item['code']}: {item['summary']}")
        lines += [f"    {line}" for line in item["evidence"]]
        lines += [f"    fix: {item['mend']}"] if item["mend"] else []
    return lines


def finding_lines(run: Document) -> list[str]:
    """Return a line for each finding of the rehearsal."""
    findings = (run.get("rehearsal") or {}).get("findings", [])
    return [f"{entry['level']} {entry['code']}: {entry['summary']} {entry['explanation']}" for entry in findings]


def approval_hint(run_id: str) -> str:
    """Return how to approve or reject a run that waits for approval."""
    return f"waiting for approval: slipway approve {run_id} --why REASON, or slipway reject"


def succeeded(run: Document) -> bool:
    """Return whether a run completed and, if it shipped a change, the change was kept."""
    decision = run["decision"]
    return run["state"]["type"] in GOOD and (decision is None or decision["word"] == "keep")


def trend_lines(history: Document) -> list[str]:
    """Return a service's history as lines: each series with a sparkline of its medians, oldest first, and the changes."""
    trend = Trend.model_validate({name: history[name] for name in ("service", "series", "marks")})
    if not trend.series:
        return [f"{trend.service} has not been measured yet: slipway measure {trend.service}"]
    lines = []
    for series in trend.series:
        medians = [p["median_ms"] for p in history["points"] if (p["route"], p["identity"], p["cache"]) == series.key]
        lines += [series.sentence, f"    {sparkline([median for median in medians if median is not None])}"]
    return lines + [f"{mark.at:%Y-%m-%d %H:%M} UTC  {mark.change} {mark.came_of_it}" for mark in trend.marks]


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Return the newest `width` values as bars of eight heights, from 0 to the largest value."""
    newest = values[-width:]
    top = max(newest, default=0.0)
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * value / top)) if top else 0] for value in newest)
