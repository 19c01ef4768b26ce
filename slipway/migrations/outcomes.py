"""What rehearsing and migrating return."""

from __future__ import annotations

from typing import Literal

from slipway.core.commands import CommandRun
from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.databases.catalog import PlanChange, Statement
from slipway.measurement.samples import MonitorResult

Reversibility = Literal["lossless", "lossy", "does nothing", "fails", "nothing to migrate"]


class Rehearsal(FrozenModel):
    """The migration as it went on a copy of the live database: upgrade, downgrade, upgrade.

    `losses` tells, in words, what the downgrade did not bring back. The digests (SHA-256) are of the schema at both
    ends: by them a later step sees a live schema that stands between.
    """

    reversibility: Reversibility
    losses: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    plans: tuple[PlanChange, ...] = ()  # of the change's queries and of the busiest ones
    statements: tuple[Statement, ...] = ()  # of the upgrade, as the server ran them on the copy
    grown_bytes: int = 0  # of all tables and indexes, by the upgrade
    copy_bytes: int = 0
    copy_seconds: float = 0
    upgrade_seconds: float = 0
    downgrade_seconds: float = 0
    rows: int = 0
    schema_at_start: str = ""
    schema_at_end: str = ""
    invalid_at_start: tuple[
        str, ...
    ] = ()  # invalid indexes of the live database, which no later step may take for its own
    commands: tuple[CommandRun, ...] = ()


class Migration(FrozenModel):
    """A move of the live database; `acted` is false when it already stood where it should."""

    before: str
    after: str
    acted: bool
    commands: tuple[CommandRun, ...] = ()
    blocked_by: tuple[str, ...] = ()  # sessions that kept it from a lock for a while, in words
    mended: tuple[str, ...] = ()  # invalid indexes that an earlier try had left, and that were dropped
    watched: MonitorResult | None = None


class Reverted(FrozenModel):
    """A roll back: the move of the database, if there was one to make, and the purge after it."""

    migration: Migration | None
    sentence: str
