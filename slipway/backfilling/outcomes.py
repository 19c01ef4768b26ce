"""The plan of a backfill, and what its steps return."""

from __future__ import annotations

from slipway.config.backfill import Backfill
from slipway.config.change import ChangeName
from slipway.config.service import Service
from slipway.core.frozen import FrozenModel


class BackfillPlan(FrozenModel):
    """A backfill with the service it is for, frozen for the rest of the run."""

    name: ChangeName
    digest: str
    backfill: Backfill
    service: Service


class BackfillProgress(FrozenModel):
    """How far a backfill is; `eta_s` leaves out held and paused time, and is null while nobody can know."""

    rows_passed: int
    rows_changed: int
    rows_skipped: int
    total: int
    total_is_exact: bool
    rows_per_s: float | None
    eta_s: float | None
    batch: int
    held_because: str = ""


class SkippedRow(FrozenModel):
    """A row that a backfill left as it was: its key, or its number in the CSV file."""

    row: int
    reason: str


class Backfilled(FrozenModel):
    """A backfill that went to its end: seconds of work, and seconds held or paused, in this run."""

    rows_passed: int
    rows_changed: int
    skipped: tuple[SkippedRow, ...]
    working_s: float
    held_s: float
