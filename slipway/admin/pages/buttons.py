"""What a person can do to a run as it stands now, and what will come of it, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.admin.actions import FOR_A_PERSON, OVER
from slipway.admin.jobs import BACKFILL
from slipway.admin.prefect_api import Document

IS_LIVE = ("Kept", "Frozen", "RollBackFailed", "GaveUp", "NotRecorded")  # ends behind which the change may be live
SHIP, REHEARSE, ROLL_BACK = "ship-change", "rehearse-change", "roll-back-change"
SETTLED = ("decide", "roll back")  # from these steps on a run goes to its end, whoever wants it cancelled


@dataclass(frozen=True)
class Action:
    """A button: `right` is what who presses it needs; with `danger` the name of the change or service is asked for."""

    name: str
    label: str
    right: str
    will: str
    danger: bool = False

    @property
    def path(self) -> str:
        """The last part of its address."""
        return self.name.replace(" ", "-")


APPROVE = Action(
    "approve", "Approve", "approve", "The run goes on: it migrates the live service, purges, measures and judges."
)
REJECT = Action(
    "reject", "Reject", "approve", "The run ends as Rejected. Nothing is changed; the record says who and why."
)
PAUSE = Action(
    "pause", "Pause", "operate", "It pauses behind its batch. What is done stays done, and the service stays held."
)
RESUME = Action("resume", "Go on", "operate", "It goes on from the row where it paused.")
RETRY = Action("retry", "Start again", "operate", "A new run of the same job is started, with the same parameters.")
UNDO = Action(
    "rollback",
    "Roll back",
    "operate",
    "The job roll-back-change is started: it brings the database of the live service back to where the change began, "
    "and purges the change's routes once more.",
    danger=True,
)
CANCEL = Action(
    "cancel", "Cancel", "operate", "The run stops within a few seconds. Nothing was changed, and nothing will be."
)
CANCEL_LIVE = Action(
    "cancel",
    "Cancel and roll back",
    "operate",
    "The change has begun to go live. The run stops what it does and goes all the way back: the database by its "
    "downgrade, then the purge, then a measurement that proves it.",
    danger=True,
)
CANCEL_ROWS = Action(
    "cancel",
    "Cancel",
    "operate",
    "The run stops behind its batch. Rows that were changed stay changed; another run goes on from there.",
    danger=True,
)
CANCEL_WORK = Action(
    "cancel", "Cancel", "operate", "The run stops within a few seconds. What it has done so far stays done."
)
ALL = ("approve", "reject", "pause", "resume", "cancel", "retry", "rollback")


def possible(run: Document) -> tuple[Action, ...]:
    """The buttons that make sense now, the one that a person looks for first.

    A crashed run is resumed by a worker of its pool, so it is on its way.
    """
    state = run["state"]
    if state["type"] in OVER:
        return _afterwards(run)
    if state["type"] == "CANCELLING":
        return ()
    if state["name"] == "Suspended":
        return APPROVE, REJECT, *_cancel(run)
    return (*_pauses(run), *_cancel(run))


def named(run: Document, name: str) -> Action | None:
    """One of the buttons that make sense now, by its name."""
    return next((action for action in possible(run) if action.name == name), None)


def to_type(run: Document) -> str:
    """The name that has to be typed before a danger: of the change, or of the service, or of the job."""
    return str(run["change"] or run["service"] or run["job"])


def _afterwards(run: Document) -> tuple[Action, ...]:
    name, is_ship = run["state"]["name"], run["job"] == SHIP
    if is_ship and name in IS_LIVE:
        return (UNDO,)
    if run["state"]["type"] == "COMPLETED" or run["job"] is None or name in FOR_A_PERSON:
        return ()
    return (RETRY,) if all(failure["retry_is_safe"] for failure in run.get("failures") or ()) else ()


def _pauses(run: Document) -> tuple[Action, ...]:
    if run["job"] != BACKFILL or run["state"]["type"] != "RUNNING":
        return ()
    held = (run.get("backfill") or {}).get("held_because") or ""
    return (RESUME,) if held.startswith("paused by") else (PAUSE,)


def _cancel(run: Document) -> tuple[Action, ...]:
    """What a cancel means depends on how far the run is."""
    begun = {step["name"] for step in run.get("steps") or ()}
    if begun.intersection(SETTLED):
        return ()
    if run["job"] == SHIP:
        return (CANCEL_LIVE,) if "migrate" in begun else (CANCEL,)
    if run["job"] == BACKFILL:
        return (CANCEL_ROWS,) if run.get("backfill") else (CANCEL,)
    return (CANCEL,) if run["job"] in (REHEARSE, ROLL_BACK) else (CANCEL_WORK,)
