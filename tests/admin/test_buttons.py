"""The actions of a run, its estimated progress, and the groups of the overview: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.admin.pages import triage
from slipway.admin.pages.buttons import confirmation_name, possible_actions
from slipway.admin.pages.estimate import Estimate, estimate, similar_run

NOW = datetime(2026, 11, 24, 10, 0, 30, tzinfo=UTC)


def step(name: str, state: str = "COMPLETED", seconds: float = 10, ago: float = 0) -> dict[str, Any]:
    """Return a step of a run that started `ago` seconds before NOW."""
    started = (NOW - timedelta(seconds=ago)).isoformat()
    return {"name": name, "state": {"type": state, "name": state}, "started": started, "seconds": seconds}


def run(job: str | None, state: str, name: str = "", *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a run in a state."""
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


PAUSED = {"held_because": "paused by Ada: rush hour"}


@pytest.mark.parametrize(
    ("sample", "labels"),
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
        (run("ship-change", "CANCELLED", "Rejected"), ["Retry"]),
        (run("ship-change", "FAILED"), ["Retry"]),
        (run("roll-back-change", "RUNNING", "", step("read plan")), ["Cancel"]),
        (run("roll-back-change", "RUNNING", "", step("roll back", "RUNNING")), []),
        (run("roll-back-change", "FAILED", "RollBackFailed"), []),
        (run("backfill", "RUNNING"), ["Pause", "Cancel"]),
        (run("backfill", "RUNNING", backfill={"held_because": ""}), ["Pause", "Cancel"]),
        (run("backfill", "RUNNING", backfill=PAUSED), ["Resume", "Cancel"]),
        (run("backfill", "PENDING"), ["Cancel"]),
        (run("backfill", "COMPLETED", "Backfilled"), []),
        (run("measure-service", "CRASHED"), ["Cancel"]),
        (run("measure-service", "FAILED", failures=[{"retry_is_safe": False}]), []),
        (run("measure-service", "FAILED"), ["Retry"]),
        (run(None, "FAILED"), []),
    ],
)
def test_possible_actions_fit_job_state_and_step(sample: dict[str, Any], labels: list[str]) -> None:
    """A run offers no action that the admin service would refuse or that would have no effect."""
    assert [action.label for action in possible_actions(sample)] == labels


def test_dangerous_actions_require_a_name() -> None:
    """A dangerous action requires the name of the change; without a change, of the service, else of the job."""
    assert [action.danger for action in possible_actions(run("ship-change", "RUNNING", "", step("migrate")))] == [True]
    assert [action.danger for action in possible_actions(run("ship-change", "COMPLETED", "Kept"))] == [True]
    assert [action.danger for action in possible_actions(run("backfill", "RUNNING", backfill=PAUSED))] == [False, True]
    assert not any(action.danger for action in possible_actions(run("ship-change", "RUNNING")))
    assert confirmation_name(run("ship-change", "RUNNING")) == "faster"
    assert confirmation_name(run("measure-service", "RUNNING", change=None)) == "shop"
    assert confirmation_name(run("own", "RUNNING", change=None, service=None)) == "own"


def test_approval_requires_the_permission_to_approve() -> None:
    """The permission to operate is not enough to approve or reject."""
    rights = {action.name: action.right for action in possible_actions(run("ship-change", "PAUSED", "Suspended"))}
    assert rights == {"approve": "approve", "reject": "approve", "cancel": "operate"}


def test_estimate_from_an_earlier_run() -> None:
    """The earlier run gives the upcoming steps and the remaining time, except while the run waits for a person."""
    earlier = run("ship-change", "COMPLETED", "Kept", step("a"), step("b", seconds=30), step("c", seconds=60))
    now = run("ship-change", "RUNNING", "", step("a"), step("b", "RUNNING", ago=10))
    assert estimate(now, earlier, NOW) == Estimate("b", "", 0.2, 80.0, ("c",))
    late = run("ship-change", "RUNNING", "", step("a"), step("b", "RUNNING", ago=500))
    assert estimate(late, earlier, NOW).eta_s == 60
    waits = run("ship-change", "PAUSED", "Suspended", step("a"))
    assert estimate(waits, earlier, NOW) == Estimate("", "", 0.1, None, ("b", "c"))


def test_estimate_from_rows() -> None:
    """The progress of a backfill comes from its rows. An unknown remaining time is None."""
    rows = {
        "total": 200,
        "total_is_exact": True,
        "rows_passed": 50,
        "rows_skipped": 0,
        "eta_s": None,
        "held_because": "",
    }
    progress = estimate(run("backfill", "RUNNING", "", step("backfill", "RUNNING"), backfill=rows), None, NOW)
    assert progress == Estimate("backfill", "50 of 200 rows are done.", 0.25, None)


def test_estimate_without_an_earlier_run() -> None:
    """The first run of a job has only the progress that its step reports. An ended run has an empty estimate."""
    running = run("own", "RUNNING", "", step("a", "RUNNING"))
    assert estimate(running, None, NOW) == Estimate("a")
    reporting = {**running, "progress": {"step": "a", "share": 0.4, "eta_s": 6}}
    assert estimate(reporting, None, NOW) == Estimate("a", "Progress of this step:", 0.4, 6)
    assert estimate(run("own", "COMPLETED"), None, NOW) == Estimate()
    unmeasured = run("own", "COMPLETED", "", step("a", seconds=0))
    assert estimate(running, unmeasured, NOW).done is None


def test_similar_run_has_the_same_change_or_service() -> None:
    """A run of the same change comes first, then one of the same service and job; never a failed run or the run itself."""
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


def test_each_run_is_in_one_group() -> None:
    """Each run is in flight, waiting for a person, failed, or done. A planned run is in no group."""
    kinds = {
        "planned": run("a", "SCHEDULED", planned="soon"),
        "now": run("a", "RUNNING"),
        "waits": run("a", "PAUSED", "Suspended", change="x"),
        "frozen": run("a", "FAILED", "Frozen", change="y"),
        "failed": run("a", "FAILED"),
        "kept": run("a", "COMPLETED", "Kept"),
        "rejected": run("a", "CANCELLED", "Rejected"),
    }
    runs = [{**sample, "id": name} for name, sample in kinds.items()]
    kinds = {sample["id"]: sample for sample in runs}
    assert triage.runs_now(runs) == [kinds["now"]]
    assert triage.waiting(runs) == [kinds["waits"], kinds["frozen"]]
    assert triage.failed(runs, triage.waiting(runs)) == [kinds["failed"]]
    assert triage.done(runs) == [kinds["kept"], kinds["rejected"]]


def test_later_run_settles_a_frozen_run() -> None:
    """A later rollback or keep of the same change on the same service settles a frozen run; an earlier one does not."""
    frozen, rolled_back = run("ship-change", "FAILED", "Frozen"), run("roll-back-change", "COMPLETED", "RolledBack")
    assert triage.waiting([rolled_back, frozen]) == []
    assert triage.failed([rolled_back, frozen], []) == [frozen]  # still listed as failed
    assert triage.waiting([frozen, rolled_back]) == [frozen]
    assert triage.waiting([{**rolled_back, "service": "other"}, frozen]) == [frozen]
