"""The actions that a run allows in its current state, each with the text that says what the action does. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.admin.actions import NEEDS_A_PERSON, OVER
from slipway.admin.jobs import BACKFILL
from slipway.admin.prefect_api import Document

MAY_BE_LIVE = (
    "Kept",
    "Frozen",
    "RollBackFailed",
    "GaveUp",
    "NotRecorded",
)  # end states in which the change may be live
SHIP, REHEARSE, ROLL_BACK = "ship-change", "rehearse-change", "roll-back-change"
POINT_OF_NO_RETURN = ("decide", "roll back")  # once one of these steps has started, the run cannot be cancelled


@dataclass(frozen=True)
class Action:
    """A button. `right` is the permission that the user needs; if `danger`, the user types a name to confirm."""

    name: str
    label: str
    right: str
    will: str
    danger: bool = False

    @property
    def path(self) -> str:
        """Return the last segment of the URL path of the action."""
        return self.name.replace(" ", "-")


APPROVE = Action(
    "approve",
    "Approve",
    "approve",
    "The run continues: it migrates the live database, purges the cache, measures the service, and judges the result.",
)
REJECT = Action(
    "reject",
    "Reject",
    "approve",
    "The run ends as Rejected. The live service is not changed. The record shows who rejected the change, and why.",
)
PAUSE = Action(
    "pause",
    "Pause",
    "operate",
    "The backfill pauses after its current batch. Rows that are already changed stay changed. The run keeps the service "
    "lock, so no other run can change this service.",
)
RESUME = Action("resume", "Resume", "operate", "The backfill continues from the row where it paused.")
RETRY = Action("retry", "Retry", "operate", "A new run of the same job starts, with the same parameters.")
ROLL_BACK_LIVE = Action(
    "rollback",
    "Roll back",
    "operate",
    "A run of the job roll-back-change starts. It downgrades the live database to the revision before the change and "
    "purges the routes of the change again.",
    danger=True,
)
CANCEL = Action(
    "cancel",
    "Cancel",
    "operate",
    "The run stops within a few seconds. It has not changed the live service, and it will not.",
)
CANCEL_LIVE = Action(
    "cancel",
    "Cancel and roll back",
    "operate",
    "The change is already going live. The run stops its current step and rolls back: it downgrades the live database, "
    "purges the cache, and measures the service to confirm the rollback.",
    danger=True,
)
CANCEL_ROWS = Action(
    "cancel",
    "Cancel",
    "operate",
    "The run stops after its current batch. Rows that are already changed stay changed. A new run continues from there.",
    danger=True,
)
CANCEL_WORK = Action(
    "cancel", "Cancel", "operate", "The run stops within a few seconds. Work that is already done is not undone."
)
ALL = ("approve", "reject", "pause", "resume", "cancel", "retry", "rollback")


def possible_actions(run: Document) -> tuple[Action, ...]:
    """Return the actions that the run allows now, the most likely one first.

    A worker resumes a crashed run, so a crashed run counts as running.
    """
    state = run["state"]
    if state["type"] in OVER:
        return _ended_actions(run)
    if state["type"] == "CANCELLING":
        return ()
    if state["name"] == "Suspended":
        return APPROVE, REJECT, *_cancel_actions(run)
    return (*_pause_actions(run), *_cancel_actions(run))


def find_action(run: Document, name: str) -> Action | None:
    """Return the action of this name if the run allows it now, else None."""
    return next((action for action in possible_actions(run) if action.name == name), None)


def confirmation_name(run: Document) -> str:
    """Return the name that the user types to confirm a dangerous action: of the change, else the service, else the job."""
    return str(run["change"] or run["service"] or run["job"])


def _ended_actions(run: Document) -> tuple[Action, ...]:
    name, is_ship = run["state"]["name"], run["job"] == SHIP
    if is_ship and name in MAY_BE_LIVE:
        return (ROLL_BACK_LIVE,)
    if run["state"]["type"] == "COMPLETED" or run["job"] is None or name in NEEDS_A_PERSON:
        return ()
    return (RETRY,) if all(failure["retry_is_safe"] for failure in run.get("failures") or ()) else ()


def _pause_actions(run: Document) -> tuple[Action, ...]:
    if run["job"] != BACKFILL or run["state"]["type"] != "RUNNING":
        return ()
    held_because = (run.get("backfill") or {}).get("held_because") or ""
    return (RESUME,) if held_because.startswith("paused by") else (PAUSE,)


def _cancel_actions(run: Document) -> tuple[Action, ...]:
    """Return the cancel action that fits the progress of the run: its effect depends on the steps that have started."""
    started_steps = {step["name"] for step in run.get("steps") or ()}
    if started_steps.intersection(POINT_OF_NO_RETURN):
        return ()
    if run["job"] == SHIP:
        return (CANCEL_LIVE,) if "migrate" in started_steps else (CANCEL,)
    if run["job"] == BACKFILL:
        return (CANCEL_ROWS,) if run.get("backfill") else (CANCEL,)
    return (CANCEL,) if run["job"] in (REHEARSE, ROLL_BACK) else (CANCEL_WORK,)
