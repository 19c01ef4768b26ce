"""Which buttons a run has, how far it is, and how runs stand: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.admin.pages import triage
from slipway.admin.pages.buttons import possible, to_type
from slipway.admin.pages.estimate import Estimate, estimate, similar_run

NOW = datetime(2026, 11, 24, 10, 0, 30, tzinfo=UTC)


def step(name: str, state: str = "COMPLETED", seconds: float = 10, ago: float = 0) -> dict[str, Any]:
    """A step of a run, begun some seconds ago."""
    started = (NOW - timedelta(seconds=ago)).isoformat()
    return {"name": name, "state": {"type": state, "name": state}, "started": started, "seconds": seconds}


def run(job: str | None, state: str, name: str = "", *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A run in a state."""
    return {
        "id": "1",
        "job": job,
        "state": {"type": state, "name": name or state.capitalize(), "message": ""},
        "steps": list(steps),
        "service": "shop",
        "change": "faster",
        "backfill": None,
        "progress": None,
        "planned": None,
        "ended": None,
        **more,
    }


HELD = {"held_because": "paused by Ada: rush hour"}


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (run("ship-change", "SCHEDULED"), ["Cancel"]),
        (run("ship-change", "RUNNING", "", step("measure before", "RUNNING")), ["Cancel"]),
        (run("ship-change", "PAUSED", "Suspended"), ["Approve", "Reject", "Cancel"]),
        (run("ship-change", "RUNNING", "", step("migrate", "RUNNING")), ["Cancel and roll back"]),
        (run("ship-change", "RUNNING", "", step("migrate"), step("decide")), []),
        (run("ship-change", "CRASHED", "", step("migrate")), ["Cancel and roll back"]),
        (run("ship-change", "CANCELLING"), []),
        (run("ship-change", "COMPLETED", "Kept"), ["Roll back"]),
        (run("ship-change", "FAILED", "Frozen"), ["Roll back"]),
        (run("ship-change", "FAILED", "RollBackFailed"), ["Roll back"]),
        (run("ship-change", "FAILED", "GaveUp"), ["Roll back"]),
        (run("ship-change", "FAILED", "NotRecorded"), ["Roll back"]),
        (run("ship-change", "COMPLETED", "RolledBack"), []),
        (run("ship-change", "CANCELLED", "Rejected"), ["Start again"]),
        (run("ship-change", "FAILED"), ["Start again"]),
        (run("roll-back-change", "RUNNING", "", step("read plan")), ["Cancel"]),
        (run("roll-back-change", "RUNNING", "", step("roll back", "RUNNING")), []),
        (run("roll-back-change", "FAILED", "RollBackFailed"), []),
        (run("backfill", "RUNNING"), ["Pause", "Cancel"]),
        (run("backfill", "RUNNING", backfill={"held_because": ""}), ["Pause", "Cancel"]),
        (run("backfill", "RUNNING", backfill=HELD), ["Go on", "Cancel"]),
        (run("backfill", "PENDING"), ["Cancel"]),
        (run("backfill", "COMPLETED", "Backfilled"), []),
        (run("measure-service", "CRASHED"), ["Cancel"]),
        (run("measure-service", "FAILED", failures=[{"retry_is_safe": False}]), []),
        (run("measure-service", "FAILED"), ["Start again"]),
        (run(None, "FAILED"), []),
    ],
)
def test_the_buttons_that_make_sense_now(found: dict[str, Any], names: list[str]) -> None:
    """By job, state and step: nothing that the door would refuse, or that would do nothing."""
    assert [action.label for action in possible(found)] == names


def test_dangers_ask_for_a_name() -> None:
    """What takes something live back asks for the name of the change; without one, of the service, or of the job."""
    assert [action.danger for action in possible(run("ship-change", "RUNNING", "", step("migrate")))] == [True]
    assert [action.danger for action in possible(run("ship-change", "COMPLETED", "Kept"))] == [True]
    assert [action.danger for action in possible(run("backfill", "RUNNING", backfill=HELD))] == [False, True]
    assert not any(action.danger for action in possible(run("ship-change", "RUNNING")))
    assert to_type(run("ship-change", "RUNNING")) == "faster"
    assert to_type(run("measure-service", "RUNNING", change=None)) == "shop"
    assert to_type(run("own", "RUNNING", change=None, service=None)) == "own"


def test_who_may_do_what() -> None:
    """An approval is not an operator's to give."""
    rights = {action.name: action.right for action in possible(run("ship-change", "PAUSED", "Suspended"))}
    assert rights == {"approve": "approve", "reject": "approve", "cancel": "operate"}


def test_how_far_by_an_earlier_run() -> None:
    """Its steps tell which are to come, and their times how long that may take, but not while a person is asked."""
    earlier = run("ship-change", "COMPLETED", "Kept", step("a"), step("b", seconds=30), step("c", seconds=60))
    now = run("ship-change", "RUNNING", "", step("a"), step("b", "RUNNING", ago=10))
    assert estimate(now, earlier, NOW) == Estimate("b", "", 0.2, 80.0, ("c",))
    late = run("ship-change", "RUNNING", "", step("a"), step("b", "RUNNING", ago=500))
    assert estimate(late, earlier, NOW).eta_s == 60
    waits = run("ship-change", "PAUSED", "Suspended", step("a"))
    assert estimate(waits, earlier, NOW) == Estimate("", "", 0.1, None, ("b", "c"))


def test_how_far_by_rows() -> None:
    """A backfill knows its rows; while nobody knows how long they take, nobody says so."""
    rows = {
        "total": 200,
        "total_is_exact": True,
        "rows_passed": 50,
        "rows_skipped": 0,
        "eta_s": None,
        "held_because": "",
    }
    found = estimate(run("backfill", "RUNNING", "", step("backfill", "RUNNING"), backfill=rows), None, NOW)
    assert found == Estimate("backfill", "50 of 200 rows are done.", 0.25, None)


def test_nobody_knows_how_far() -> None:
    """The first run of a job has nothing beside it but what its step itself tells, and an ended one needs nothing."""
    found = run("own", "RUNNING", "", step("a", "RUNNING"))
    assert estimate(found, None, NOW) == Estimate("a")
    telling = {**found, "progress": {"step": "a", "share": 0.4, "eta_s": 6}}
    assert estimate(telling, None, NOW) == Estimate("a", "Of this step:", 0.4, 6)
    assert estimate(run("own", "COMPLETED"), None, NOW) == Estimate()
    unmeasured = run("own", "COMPLETED", "", step("a", seconds=0))
    assert estimate(found, unmeasured, NOW).done is None


def test_the_run_that_is_most_alike() -> None:
    """Of the same change, or else of the same service and job; never one that did not go well, nor itself."""
    ended = {"ended": "then"}
    others = [
        run("ship-change", "COMPLETED", "RolledBack", id="2", **ended),
        run("ship-change", "COMPLETED", "Kept", id="3", change="other", **ended),
        run("ship-change", "COMPLETED", "Kept", id="4", **ended),
        run("measure-service", "COMPLETED", "Completed", id="5", **ended),
    ]
    assert similar_run(run("ship-change", "RUNNING"), others) == "4"
    assert similar_run(run("ship-change", "RUNNING", change="new"), others) == "3"
    assert similar_run(run("ship-change", "RUNNING", service="else"), others) is None
    assert similar_run(run("ship-change", "RUNNING", id="4"), others) == "3"


def test_how_runs_stand() -> None:
    """Each run stands in one place: now, waiting for a person, failed, or done; what is planned in none."""
    kinds = {
        "planned": run("a", "SCHEDULED", planned="soon"),
        "now": run("a", "RUNNING"),
        "waits": run("a", "PAUSED", "Suspended", change="x"),
        "frozen": run("a", "FAILED", "Frozen", change="y"),
        "failed": run("a", "FAILED"),
        "kept": run("a", "COMPLETED", "Kept"),
        "rejected": run("a", "CANCELLED", "Rejected"),
    }
    runs = [{**found, "id": name} for name, found in kinds.items()]
    kinds = {found["id"]: found for found in runs}
    assert triage.runs_now(runs) == [kinds["now"]]
    assert triage.waiting(runs) == [kinds["waits"], kinds["frozen"]]
    assert triage.failed(runs, triage.waiting(runs)) == [kinds["failed"]]
    assert triage.done(runs) == [kinds["kept"], kinds["rejected"]]


def test_what_was_settled_waits_no_more() -> None:
    """A later roll back, or a later keep, of the same change on the same service is the answer; an earlier one is not."""
    frozen, back = run("ship-change", "FAILED", "Frozen"), run("roll-back-change", "COMPLETED", "RolledBack")
    assert triage.waiting([back, frozen]) == []
    assert triage.failed([back, frozen], []) == [frozen]  # it has not vanished
    assert triage.waiting([frozen, back]) == [frozen]
    assert triage.waiting([{**back, "service": "other"}, frozen]) == [frozen]
