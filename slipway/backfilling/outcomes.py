"""The plan of a backfill, and what its steps return."""

from __future__ import annotations

from slipway.config.backfill import Backfill
from slipway.config.change import ChangeName
from slipway.config.service import Service
from slipway.core.frozen import FrozenModel


class BackfillPlan(FrozenModel):
    """A backfill and its service, unchanged for the rest of the run."""

    name: ChangeName
    digest: str
    backfill: Backfill
    service: Service


class BackfillProgress(FrozenModel):
    """The progress of a backfill. `eta_s` excludes held and paused time, and is null while it is unknown."""

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
    """A row that a backfill did not change: its key, or its number in the CSV file."""

    row: int
    reason: str


class Backfilled(FrozenModel):
    """A finished backfill, with the seconds of work and the seconds held or paused in this run."""

    rows_passed: int
    rows_changed: int
    skipped: tuple[SkippedRow, ...]
    working_s: float
    held_s: float
