"""The return values of a rehearsal, a migration and a rollback."""

from __future__ import annotations

from typing import Literal

from slipway.core.commands import CommandRun
from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.databases.catalog import PlanChange, Statement
from slipway.measurement.samples import MonitorResult

Reversibility = Literal["lossless", "lossy", "does nothing", "fails", "nothing to migrate"]


class Rehearsal(FrozenModel):
    """The result of upgrade, downgrade and upgrade on a copy of the live database.

    `losses` describes what the downgrade did not restore. The digests (SHA-256) are of the schema before and after the
    upgrade; a later step compares them with the live schema, to detect one between two revisions.
    """

    reversibility: Reversibility
    losses: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    plans: tuple[PlanChange, ...] = ()  # of the change's queries and of the busiest ones
    statements: tuple[Statement, ...] = ()  # of the upgrade, as the server on the copy recorded them
    grown_bytes: int = 0  # growth of all tables and indexes by the upgrade
    copy_bytes: int = 0
    copy_seconds: float = 0
    upgrade_seconds: float = 0
    downgrade_seconds: float = 0
    rows: int = 0
    schema_at_start: str = ""
    schema_at_end: str = ""
    invalid_at_start: tuple[
        str, ...
    ] = ()  # invalid indexes of the live database before the migration; no later step drops them
    commands: tuple[CommandRun, ...] = ()


class Migration(FrozenModel):
    """An upgrade or downgrade of the live database; `acted` is false if it was already at the requested revision."""

    before: str
    after: str
    acted: bool
    commands: tuple[CommandRun, ...] = ()
    blocked_by: tuple[str, ...] = ()  # descriptions of the sessions that held conflicting locks
    mended: tuple[str, ...] = ()  # invalid indexes of an earlier attempt that were dropped
    watched: MonitorResult | None = None


class Reverted(FrozenModel):
    """A rollback of the database: its migration, if the change has one, and a sentence about it."""

    migration: Migration | None
    sentence: str
