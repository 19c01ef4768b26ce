"""How runs stand: what runs now, what waits for a person, what failed lately. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway.admin.prefect_api import Document

NOW = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
ASKS = {
    "Suspended": "waits for an approval",
    "Frozen": "is frozen: keep it, or roll it back",
    "RollBackFailed": "could not be rolled back: go on by hand",
    "GaveUp": "kept crashing: look where the service stands",
    "NotRecorded": "is done, but has no record",
}
ANSWERS = ("RolledBack", "Kept")  # ends of a later run of the same change that settle an earlier one


def runs_now(runs: Iterable[Document]) -> list[Document]:
    """What is on its way and waits for nobody; a run that a schedule has planned is not there yet."""
    return [run for run in runs if _type(run) in NOW and not run["planned"] and run["state"]["name"] != "Suspended"]


def waiting(runs: Sequence[Document]) -> list[Document]:
    """What a person has to look at, the newest first, as `runs` are; what a later run has settled is not asked again."""
    settled: set[tuple[str | None, str | None]] = set()
    found = []
    for run in runs:
        about = (run["service"], run["change"])
        if run["state"]["name"] in ANSWERS:
            settled.add(about)
        elif run["state"]["name"] in ASKS and about not in settled:
            found.append(run)
    return found


def failed(runs: Sequence[Document], waits: Sequence[Document]) -> list[Document]:
    """What ended without doing its work, apart from what waits for a person; what was settled since stands here."""
    asked = {run["id"] for run in waits}
    return [run for run in runs if _type(run) in ("FAILED", "CRASHED") and run["id"] not in asked]


def done(runs: Iterable[Document]) -> list[Document]:
    """What has ended otherwise."""
    return [run for run in runs if _type(run) in ("COMPLETED", "CANCELLED")]


def asks(run: Document) -> str:
    """What a run that waits wants of a person; empty for one that does not wait."""
    return ASKS.get(str(run["state"]["name"]), "")


def _type(run: Document) -> str:
    return str(run["state"]["type"])
