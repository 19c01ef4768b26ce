"""What each step leaves behind. Data flows one way: change → findings → measurements → verdict → decision → record."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from slipway.backfill import Backfill
from slipway.catalogue import PlanChange, Statement
from slipway.change import Change, ChangeName
from slipway.finding import Finding
from slipway.measurement import CacheClass, Watched
from slipway.noun import Noun, RouteAs
from slipway.service import Service

DecisionWord = Literal["keep", "roll back", "freeze", "reject"]
Reversibility = Literal["lossless", "lossy", "does nothing", "fails", "nothing to migrate"]


class CommandRun(Noun):
    """One command of the service as it was run: no secrets, they stand in its environment."""

    argv: tuple[str, ...]
    seconds: float
    exit_code: int
    output: str  # stdout and stderr, the last lines, secrets replaced


class OnService(Protocol):
    """What a run is about to do on one service: enough to hold it by."""

    @property
    def name(self) -> str:
        """The folder below changes/."""

    @property
    def service(self) -> Service:
        """The service that is held."""


def roll_back_command(name: str, on_staging: bool) -> str:
    """What a person types to get back to where a change began."""
    return f"slipway rollback {name}{' --staging' if on_staging else ''}"


class Leaving(Noun):
    """Exactly what a change takes out of the cache, known before anything is done.

    `routes` are those that it names and those of its ids; `tagged` those of the service's known pages that carry one of
    the tags now. What else carries a tag only the cache knows.
    """

    routes: tuple[str, ...]
    tags: tuple[str, ...] = ()
    tagged: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`/orders, /products/7; tag orders (of the known pages: /).`"""
        told = [", ".join(self.routes)] if self.routes else []
        if self.tags:
            told.append(f"tag {', '.join(self.tags)} (of the known pages: {', '.join(self.tagged) or 'none'})")
        return f"{'; '.join(told) or 'nothing'}."


class Plan(Noun):
    """A validated change with the service it is for, frozen for the rest of the run."""

    name: ChangeName
    digest: str
    change: Change
    service: Service
    commit: str  # the commit that the files came from, or ""
    files: tuple[str, ...]  # files touched, from git
    migration_sql: str
    commands: tuple[CommandRun, ...] = ()
    leaving: Leaving | None = None  # None where the change purges nothing, and before it was validated
    on_staging: bool = False  # the service is the staging of the one that the change names

    @property
    def way_back(self) -> str:
        """The command by which a person gets back to where the change began."""
        return roll_back_command(self.name, self.on_staging)


class Shipment(Noun):
    """What came of a run on a service, with what it ran: by these a change is known again on another service."""

    run_id: str
    service: str
    change: str
    digest: str  # SHA-256 of the change file
    sql_digest: str  # SHA-256 of the migration's SQL; empty for a roll back, which does not read it
    commands: dict[str, list[str]]  # by which the service migrates, each by its purpose, with its placeholders
    came_of_it: Literal["kept", "rolled back"]
    at: datetime


class Staged(Noun):
    """The run that kept the change on the staging service, and the later one that rolled it back there."""

    service: str
    kept_by: str
    kept_at: datetime
    rolled_back_by: str
    rolled_back_at: datetime


class Inspection(Noun):
    """The findings about the cache headers and the privacy of the routes of a change."""

    findings: tuple[Finding, ...]


class Rehearsal(Noun):
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


class Approval(Noun):
    """What a person said of a change after its rehearsal."""

    approved: bool
    by: str
    why: str


class Migration(Noun):
    """A move of the live database; `acted` is false when it already stood where it should."""

    before: str
    after: str
    acted: bool
    commands: tuple[CommandRun, ...] = ()
    blocked_by: tuple[str, ...] = ()  # sessions that kept it from a lock for a while, in words
    mended: tuple[str, ...] = ()  # invalid indexes that an earlier try had left, and that were dropped
    watched: Watched | None = None


class RouteReading(Noun):
    """How the cache answered two anonymous reads of a route after a purge, in one variant of the page.

    `evicted` marks a control that was in the cache before, and is no longer, or is younger than it was.
    """

    route: str
    variant: str = ""  # the request headers that select it, as the service declares them
    first: CacheClass
    second: CacheClass
    age_s: int | None = None
    evicted: bool = False

    @property
    def page(self) -> str:
        """The route, and the variant where it is not the plain one."""
        return f"{self.route} ({self.variant})" if self.variant else self.route


class Purged(Noun):
    """What was asked to leave the cache, and what reading afterwards showed."""

    routes: tuple[str, ...]
    tags: tuple[str, ...]
    affected: tuple[RouteReading, ...]
    controls: tuple[RouteReading, ...]
    seconds: float
    watched: Watched | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What left the cache besides."""
        return tuple(
            Finding(
                code="collateral-eviction",
                level="warning",
                summary=f"{reading.page} left the cache, too.",
                explanation="It was in the cache before the purge, and only what a change names may leave. Does a tag or a "
                "rule of the cache take it along? It may also have expired by itself just then.",
            )
            for reading in self.controls
            if reading.evicted
        )


class Failure(Noun):
    """What went wrong after the migration had begun; `for_a_person` when no rule can know where the service stands."""

    words: str
    for_a_person: bool


class Decision(Noun):
    """What becomes of the change, and why in words."""

    word: DecisionWord
    reason: str


class Reverted(Noun):
    """A roll back: the move of the database, if there was one to make, and the purge after it."""

    migration: Migration | None
    sentence: str


class Record(Noun):
    """The final note of a run, as Markdown, and its picture."""

    markdown: str
    picture_svg: str = ""
    path: str


class ServiceMeasured(Noun):
    """One line a watched route of `measure-service` (times in ms)."""

    target: RouteAs
    cache: CacheClass
    samples: int
    errors: int
    median_ms: float | None
    p90_ms: float | None


class BackfillPlan(Noun):
    """A backfill with the service it is for, frozen for the rest of the run."""

    name: ChangeName
    digest: str
    backfill: Backfill
    service: Service


class BackfillProgress(Noun):
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


class SkippedRow(Noun):
    """A row that a backfill left as it was: its key, or its number in the CSV file."""

    row: int
    reason: str


class Backfilled(Noun):
    """A backfill that went to its end: seconds of work, and seconds held or paused, in this run."""

    rows_passed: int
    rows_changed: int
    skipped: tuple[SkippedRow, ...]
    working_s: float
    held_s: float
