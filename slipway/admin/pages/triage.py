"""Sort runs into groups: in flight, waiting for a person, failed, done. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway.admin.prefect_api import Document

NOW = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
NEEDED_ACTIONS = {
    "Suspended": "Waiting for approval.",
    "Frozen": "Frozen: keep the change or roll it back.",
    "RollBackFailed": "The rollback failed: finish it by hand.",
    "GaveUp": "The run crashed too often: check the state of the service.",
    "NotRecorded": "The run is done, but it has no record.",
}
SETTLING_STATES = ("RolledBack", "Kept")  # end states of a later run of the same change that settle an earlier run


def runs_now(runs: Iterable[Document]) -> list[Document]:
    """Return the runs in flight that wait for nobody. Runs that a schedule has planned do not count yet."""
    return [run for run in runs if _type(run) in NOW and not run["planned"] and run["state"]["name"] != "Suspended"]


def waiting(runs: Sequence[Document]) -> list[Document]:
    """Return the runs that need a person, except those that a later run has settled. `runs` must have the newest first."""
    settled: set[tuple[str | None, str | None]] = set()
    unsettled = []
    for run in runs:
        subject = (run["service"], run["change"])
        if run["state"]["name"] in SETTLING_STATES:
            settled.add(subject)
        elif run["state"]["name"] in NEEDED_ACTIONS and subject not in settled:
            unsettled.append(run)
    return unsettled


def failed(runs: Sequence[Document], waits: Sequence[Document]) -> list[Document]:
    """Return the failed and crashed runs, except those in `waits`. Runs that a later run has settled are included."""
    waiting_ids = {run["id"] for run in waits}
    return [run for run in runs if _type(run) in ("FAILED", "CRASHED") and run["id"] not in waiting_ids]


def done(runs: Iterable[Document]) -> list[Document]:
    """Return the completed and cancelled runs."""
    return [run for run in runs if _type(run) in ("COMPLETED", "CANCELLED")]


def needed_action(run: Document) -> str:
    """Return what the run needs from a person; empty if the run does not wait for a person."""
    return NEEDED_ACTIONS.get(str(run["state"]["name"]), "")


def _type(run: Document) -> str:
    return str(run["state"]["type"])
