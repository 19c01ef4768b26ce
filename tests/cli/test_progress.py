"""The progress of a run as lines of text."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.cli.progress import Progress, ending, rows_line, run_line, sparkline, succeeded, trend_lines


def run(state: str, name: str, **more: Any) -> dict[str, Any]:
    """Return a run document of the admin service."""
    document: dict[str, Any] = {
        "name": "ship-change faster",
        "state": {"type": state, "name": name, "message": None},
        "steps": [],
        "decision": None,
        "failures": [],
    }
    return document | more


def step(name: str, state: str, seconds: float | None = None) -> dict[str, Any]:
    """Return a step of a run document."""
    return {"name": name, "state": {"type": state}, "seconds": seconds}


KEPT = run("COMPLETED", "Kept", decision={"word": "keep", "reason": "It is faster."})
ROLLED_BACK = run("COMPLETED", "RolledBack", decision={"word": "roll back", "reason": "It is slower."})
FROZEN = run("FAILED", "Frozen", decision={"word": "freeze", "reason": "Nothing can be said."})
FAILED = run(
    "FAILED",
    "Failed",
    failures=[{"step": "validate", "failed": "It is ill.", "expected": "Health.", "retry_is_safe": True}],
)


def test_a_scheduled_run_is_listed_by_its_job_and_service() -> None:
    """Other runs are listed by their names."""
    base = {"id": "4711", "created": "2026-03-04T05:06:07.891Z", "job": "measure-service", "change": None}
    ended = base | {
        "name": "measure-service shop",
        "state": {"type": "COMPLETED", "name": "Measured"},
        "parameters": {},
    }
    assert run_line(ended) == "4711  2026-03-04T05:06:07  Measured      measure-service shop"
    scheduled = {
        "name": "tomato-zebra",
        "state": {"type": "SCHEDULED", "name": "Scheduled"},
        "parameters": {"service": "shop"},
    }
    assert run_line(base | scheduled) == "4711  2026-03-04T05:06:07  Scheduled     measure-service shop"


def test_each_line_is_printed_once() -> None:
    """The start and the end of a step are one line each, however often the run is shown."""
    printed: list[str] = []
    progress = Progress(printed.append)
    snapshots = [
        [step("validate", "PENDING")],
        [step("validate", "RUNNING")],
        [step("validate", "RUNNING"), step("hold", "PENDING")],
        [step("validate", "COMPLETED", 1.26), step("hold", "RUNNING")],
        [step("validate", "COMPLETED", 1.26), step("hold", "COMPLETED", None), step("purge", "SCHEDULED")],
        [step("validate", "COMPLETED", 1.26), step("hold", "COMPLETED", None), step("purge", "FAILED", 0.1)],
    ]
    for steps in [snapshot for snapshot in snapshots for _ in range(2)]:
        progress.show(run("RUNNING", "Running", steps=steps))
    assert printed == ["validate …", "validate: done in 1.3 s", "hold …", "hold: done in 0.0 s", "purge: failed"]


def test_a_run_that_waits_for_approval_prints_findings_and_the_command() -> None:
    """The lines are printed once, however long the run waits."""
    printed: list[str] = []
    progress = Progress(printed.append)
    finding = {"level": "warning", "code": "index-unused", "summary": "It is idle.", "explanation": "It costs."}
    waiting = run("PAUSED", "Suspended", id="4711", rehearsal={"findings": [finding]})
    for _ in range(3):
        progress.show(waiting)
    assert printed == [
        "warning index-unused: It is idle. It costs.",
        "waiting for approval: slipway approve 4711 --why REASON, or slipway reject",
    ]


def test_a_step_that_ended_between_two_polls_prints_only_its_end() -> None:
    """The start of such a step is not printed."""
    printed: list[str] = []
    Progress(printed.append).show(run("COMPLETED", "Kept", steps=[step("validate", "COMPLETED", 0.04)]))
    assert printed == ["validate: done in 0.0 s"]


def test_a_repeated_step_prints_the_crash_and_the_end() -> None:
    """The worker died and the step was repeated."""
    printed: list[str] = []
    progress = Progress(printed.append)
    for state in ("RUNNING", "CRASHED", "RUNNING", "COMPLETED"):
        progress.show(run("RUNNING", "Running", steps=[step("measure", state, 2.0)]))
    assert printed == ["measure …", "measure: crashed", "measure: done in 2.0 s"]


@pytest.mark.parametrize(
    ("ended", "lines", "success"),
    [
        (KEPT, ["ship-change faster: Kept", "keep: It is faster."], True),
        (ROLLED_BACK, ["ship-change faster: RolledBack", "roll back: It is slower."], False),
        (FROZEN, ["ship-change faster: Frozen", "freeze: Nothing can be said."], False),
        (
            FAILED,
            ["ship-change faster: Failed", "validate: It is ill. Expected: Health. A retry is safe."],
            False,
        ),
        (
            run("CRASHED", "Crashed")
            | {"state": {"type": "CRASHED", "name": "Crashed", "message": "The worker died."}},
            ["ship-change faster: Crashed", "The worker died."],
            False,
        ),
        (run("CANCELLED", "Cancelled"), ["ship-change faster: Cancelled"], False),
        (run("COMPLETED", "Completed"), ["ship-change faster: Completed"], True),
    ],
    ids=["kept", "rolled back", "frozen", "failed", "crashed", "cancelled", "a job without a decision"],
)
def test_the_ending_shows_the_decision_or_the_failure(ended: dict[str, Any], lines: list[str], success: bool) -> None:
    """A change is a success only if it was kept."""
    assert ending(ended) == lines
    assert succeeded(ended) is success


def test_an_unsafe_failure_says_not_to_retry() -> None:
    """If a retry is not safe, the ending says that a person must check first."""
    failure = {"step": "migrate", "failed": "It broke.", "expected": "It whole.", "retry_is_safe": False}
    assert ending(run("FAILED", "Failed", failures=[failure]))[1:] == [
        "migrate: It broke. Expected: It whole. A retry is not safe: check the cause first."
    ]


def rows(passed: int, **more: Any) -> dict[str, Any]:
    """Return the progress of a backfill from a run document."""
    document: dict[str, Any] = {
        "rows_passed": passed,
        "rows_changed": passed,
        "rows_skipped": 0,
        "total": 10_000,
        "total_is_exact": False,
        "rows_per_s": 2_000.4,
        "eta_s": 3.5,
        "batch": 1_000,
        "held_because": "",
    }
    return document | more


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (rows(3_000), "3,000 of about 10,000 rows, 2,000 rows/s, 4 s left"),
        (rows(0, rows_per_s=None, eta_s=None), "0 of about 10,000 rows, time left unknown"),
        (rows(10_000, total_is_exact=True, eta_s=0.0), "10,000 of 10,000 rows, 2,000 rows/s, 0 s left"),
        (
            rows(3_000, rows_skipped=2, held_because="accounts is being vacuumed"),
            "3,000 of about 10,000 rows (2 skipped), 2,000 rows/s, 4 s left; holding: accounts is being vacuumed",
        ),
    ],
)
def test_the_line_of_a_backfill_shows_rows_speed_and_time_left(progress: dict[str, Any], line: str) -> None:
    """The line also shows why the backfill holds. Estimates are marked, and unknown values are not shown as 0."""
    assert rows_line(progress) == line


def test_a_backfill_prints_a_line_per_tenth_and_hold() -> None:
    """A line is printed for each tenth of the rows, and whenever the backfill holds or continues. No line is repeated."""
    printed: list[str] = []
    progress = Progress(printed.append)
    held = rows(1_500, held_because="the replication lag takes 31 s, more than 10")
    for snapshot in (rows(0), rows(500), rows(1_000), rows(1_500), held, held, rows(1_500)):
        progress.show(run("RUNNING", "Running", backfill=snapshot))
    assert printed == [rows_line(snapshot) for snapshot in (rows(0), rows(1_000), held, rows(1_500))]


def test_a_sparkline_shows_the_newest_values() -> None:
    """The bars range from 0 to the largest value. Without values the line is empty."""
    assert sparkline([0, 1, 2, 4, 8, 7.9]) == "▁▂▃▅██"
    assert sparkline(list(range(100)), width=3) == "███"
    assert (sparkline([]), sparkline([0.0, 0.0])) == ("", "▁▁")


def test_the_history_of_an_unmeasured_service_names_the_command() -> None:
    """The line says how to measure the service."""
    history = {"service": "shop", "series": [], "marks": [], "points": []}
    assert trend_lines(history) == ["shop has not been measured yet: slipway measure shop"]


def test_an_audit_prints_a_line_per_item() -> None:
    """A failed item is followed by its evidence and its fix. New failures are marked."""
    items = [
        {"code": "vary", "result": "pass", "new": False, "summary": "Fine.", "evidence": [], "mend": ""},
        {
            "code": "leak-probe",
            "result": "fail",
            "new": True,
            "summary": "A leak.",
            "evidence": ["/a"],
            "mend": "Purge.",
        },
        {"code": "logging", "result": "not checked", "new": False, "summary": "No log.", "evidence": [], "mend": ""},
    ]
    audit = run("FAILED", "ItemsFailed", audit={"items": items})
    assert ending(audit)[1:] == [
        "pass         vary: Fine.",
        "fail (new)   leak-probe: A leak.",
        "    /a",
        "    fix: Purge.",
        "not checked  logging: No log.",
    ]
    assert not succeeded(audit) and succeeded(run("COMPLETED", "Passed"))
