"""A run's progress as lines of text."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.cli.progress import Progress, ending, rows_line, run_line, sparkline, succeeded, trend_lines


def run(state: str, name: str, **more: Any) -> dict[str, Any]:
    """A run as the admin service shows it."""
    found: dict[str, Any] = {
        "name": "ship-change faster",
        "state": {"type": state, "name": name, "message": None},
        "steps": [],
        "decision": None,
        "failures": [],
    }
    return found | more


def step(name: str, state: str, seconds: float | None = None) -> dict[str, Any]:
    """A step as the admin service shows it."""
    return {"name": name, "state": {"type": state}, "seconds": seconds}


KEPT = run("COMPLETED", "Kept", decision={"word": "keep", "reason": "It is faster."})
ROLLED_BACK = run("COMPLETED", "RolledBack", decision={"word": "roll back", "reason": "It is slower."})
FROZEN = run("FAILED", "Frozen", decision={"word": "freeze", "reason": "Nothing can be said."})
FAILED = run(
    "FAILED",
    "Failed",
    failures=[{"step": "validate", "failed": "It is ill.", "expected": "Health.", "retry_is_safe": True}],
)


def test_a_run_in_a_list() -> None:
    """By its own name; one that is only scheduled by what it will do."""
    line = {"id": "4711", "created": "2026-03-04T05:06:07.891Z", "job": "measure-service", "change": None}
    ended = line | {
        "name": "measure-service shop",
        "state": {"type": "COMPLETED", "name": "Measured"},
        "parameters": {},
    }
    assert run_line(ended) == "4711  2026-03-04T05:06:07  Measured      measure-service shop"
    due = {
        "name": "tomato-zebra",
        "state": {"type": "SCHEDULED", "name": "Scheduled"},
        "parameters": {"service": "shop"},
    }
    assert run_line(line | due) == "4711  2026-03-04T05:06:07  Scheduled     measure-service shop"


def test_each_line_is_told_once() -> None:
    """However often a run is shown, each step's begin and end is one line."""
    said: list[str] = []
    progress = Progress(said.append)
    shown = [
        [step("validate", "PENDING")],
        [step("validate", "RUNNING")],
        [step("validate", "RUNNING"), step("hold", "PENDING")],
        [step("validate", "COMPLETED", 1.26), step("hold", "RUNNING")],
        [step("validate", "COMPLETED", 1.26), step("hold", "COMPLETED", None), step("purge", "SCHEDULED")],
        [step("validate", "COMPLETED", 1.26), step("hold", "COMPLETED", None), step("purge", "FAILED", 0.1)],
    ]
    for steps in [each for each in shown for _ in range(2)]:
        progress.show(run("RUNNING", "Running", steps=steps))
    assert said == ["validate …", "validate: done in 1.3 s", "hold …", "hold: done in 0.0 s", "purge: failed"]


def test_a_run_that_waits_for_a_person() -> None:
    """What was found, and how to answer, once, however long it waits."""
    said: list[str] = []
    progress = Progress(said.append)
    finding = {"level": "warning", "code": "index-unused", "summary": "It is idle.", "explanation": "It costs."}
    waits = run("PAUSED", "Suspended", id="4711", rehearsal={"findings": [finding]})
    for _ in range(3):
        progress.show(waits)
    assert said == [
        "warning index-unused: It is idle. It costs.",
        "waits for a yes or a no: slipway approve 4711 --why REASON, or slipway reject",
    ]


def test_a_step_that_was_over_before_it_was_seen() -> None:
    """A step that began and ended between two looks is told by its end alone."""
    said: list[str] = []
    Progress(said.append).show(run("COMPLETED", "Kept", steps=[step("validate", "COMPLETED", 0.04)]))
    assert said == ["validate: done in 0.0 s"]


def test_a_step_that_crashed_and_then_went_on() -> None:
    """A step whose worker died, and that was then repeated, tells both."""
    said: list[str] = []
    progress = Progress(said.append)
    for state in ("RUNNING", "CRASHED", "RUNNING", "COMPLETED"):
        progress.show(run("RUNNING", "Running", steps=[step("measure", state, 2.0)]))
    assert said == ["measure …", "measure: crashed", "measure: done in 2.0 s"]


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
def test_the_ending(ended: dict[str, Any], lines: list[str], success: bool) -> None:
    """What came of a run is told in the words of its decision or its failure, and only a kept change is a success."""
    assert ending(ended) == lines
    assert succeeded(ended) is success


def test_a_failure_that_must_not_be_repeated() -> None:
    """When a retry is not safe, the ending says that a person has to look first."""
    failure = {"step": "migrate", "failed": "It broke.", "expected": "It whole.", "retry_is_safe": False}
    assert ending(run("FAILED", "Failed", failures=[failure]))[1:] == [
        "migrate: It broke. Expected: It whole. Do not retry before a person has looked."
    ]


def rows(passed: int, **more: Any) -> dict[str, Any]:
    """The progress of a backfill as the admin service shows it."""
    found: dict[str, Any] = {
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
    return found | more


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (rows(3_000), "3,000 of about 10,000 rows, 2,000 rows/s, 4 s to go"),
        (rows(0, rows_per_s=None, eta_s=None), "0 of about 10,000 rows, time to go unknown"),
        (rows(10_000, total_is_exact=True, eta_s=0.0), "10,000 of 10,000 rows, 2,000 rows/s, 0 s to go"),
        (
            rows(3_000, rows_skipped=2, held_because="accounts is being vacuumed"),
            "3,000 of about 10,000 rows (2 skipped), 2,000 rows/s, 4 s to go; holding: accounts is being vacuumed",
        ),
    ],
)
def test_a_line_of_a_backfill(progress: dict[str, Any], line: str) -> None:
    """Rows, speed, time to go and what holds it; an estimate is called so, and what nobody knows is not told as 0."""
    assert rows_line(progress) == line


def test_a_backfill_is_told_by_tenths_and_holds() -> None:
    """A line for each tenth of the rows, and whenever it holds or goes on; the same is not told twice."""
    said: list[str] = []
    progress = Progress(said.append)
    held = rows(1_500, held_because="the replication lag takes 31 s, more than 10")
    for seen in (rows(0), rows(500), rows(1_000), rows(1_500), held, held, rows(1_500)):
        progress.show(run("RUNNING", "Running", backfill=seen))
    assert said == [rows_line(seen) for seen in (rows(0), rows(1_000), held, rows(1_500))]


def test_a_sparkline() -> None:
    """From nothing to the greatest, the newest values; nothing at all is no line."""
    assert sparkline([0, 1, 2, 4, 8, 7.9]) == "▁▂▃▅██"
    assert sparkline(list(range(100)), width=3) == "███"
    assert (sparkline([]), sparkline([0.0, 0.0])) == ("", "▁▁")


def test_a_service_that_was_never_measured() -> None:
    """It says how to begin."""
    found = {"service": "shop", "series": [], "marks": [], "points": []}
    assert trend_lines(found) == ["shop has not been measured yet: slipway measure shop"]


def test_the_checklist_of_an_audit() -> None:
    """A line an item; below what fails its evidence and how to mend it, and what is new is marked."""
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
    audited = run("FAILED", "ItemsFailed", audit={"items": items})
    assert ending(audited)[1:] == [
        "pass         vary: Fine.",
        "fail (new)   leak-probe: A leak.",
        "    /a",
        "    mend: Purge.",
        "not checked  logging: No log.",
    ]
    assert not succeeded(audited) and succeeded(run("COMPLETED", "Passed"))
