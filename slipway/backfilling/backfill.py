"""Backfill: batch after batch until there is no row left, as fast as the service bears it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from pathlib import Path
from threading import Event, Thread

import httpx

from slipway.backfilling.batches import (
    MOST_TIMEOUTS,
    Pace,
    after_batch,
    after_timeout,
    eta_s,
    rest_s,
    wait_after_timeout,
)
from slipway.backfilling.csv_rows import parse_rows
from slipway.backfilling.errors import Refused, TimedOut
from slipway.backfilling.health import hold_reasons
from slipway.backfilling.ledger import BackfillState, Ledger, application_name, gate_fault, standing_of
from slipway.backfilling.outcomes import Backfilled, BackfillPlan, BackfillProgress, SkippedRow
from slipway.backfilling.signals import read_signals
from slipway.backfilling.sources import CsvSource, ExpressionSource, Source
from slipway.config.backfill import Backfill, load_backfill, read_csv
from slipway.config.service import Service, load_service
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import Settings
from slipway.databases.opening import postgresql_of
from slipway.databases.postgresql.database import PostgreSQL
from slipway.measurement.pages import visitor

EVERY_S = 1.0  # how often progress is told and health is looked at
Tell = Callable[[BackfillProgress], None]
PausedBy = Callable[[], str]
logger = logging.getLogger("slipway.backfill")


def read_plan(name: str, settings: Settings) -> BackfillPlan:
    """The backfill and its service as they stand in their files. Raises InvalidInput for what is written wrong."""
    backfill, digest = load_backfill(settings.changes, name)
    service = load_service(settings.config, backfill.service)
    if service.database is None:
        raise InvalidInput(f"Service {service.name} has no database.", expected="[service.database] in slipway.toml.")
    route = backfill.health.route
    if route is not None and not service.has_route(route):
        raise InvalidInput(
            f"The route {route} is outside the service {service.name}.", expected="A route of that service."
        )
    return BackfillPlan(name=name, digest=digest, backfill=backfill, service=service)


def validate(name: str, settings: Settings) -> BackfillPlan:
    """The plan, its rows and its SQL held against the table; nothing is changed. Raises InvalidInput, or Unavailable."""
    plan = read_plan(name, settings)
    with _ledger(plan, settings.changes) as ledger:
        ledger.check()
    return plan


def backfill(plan: BackfillPlan, changes: Path, tell: Tell, paused_by: PausedBy) -> Backfilled:
    """Go from where it stands to its end; rows that were skipped before are tried once more.

    `tell` hears of the progress about once a second; `paused_by` says who wants a pause, or nothing. Stops between
    two batches, or ends the one in flight, when `interruption.check` raises. Raises SlipwayError; doing it again goes on.
    """
    _database(plan).end_sessions(application_name(plan.name))  # a dead attempt's batch may still be at work
    with (
        _ledger(plan, changes) as ledger,
        _ended_when_interrupted(ledger),
        nullcontext() if plan.backfill.health.route is None else visitor(plan.service, None) as client,
    ):
        try:
            ledger.check()
            return _Way(plan, ledger, client, tell, paused_by).to_its_end()
        except TimedOut:
            cancellation.check()  # whoever wants us to stop ends the statement, which looks like a time-out
            raise


def how_far(plan: BackfillPlan) -> str:
    """How far a backfill is, in a sentence. Raises Unavailable."""
    standing = standing_of(_database(plan), plan.name)
    if standing is None:
        return f"No row of {plan.backfill.table} was changed."
    about = "" if standing.total_is_exact else "about "
    return (
        f"{standing.rows_passed:,} of {about}{standing.total:,} rows are done and stay so; "
        f"slipway backfill {plan.name} goes on from there."
    )


def require_finished(names: tuple[str, ...], service: Service, settings: Settings) -> None:
    """The gate of a change that needs backfills. Raises InvalidInput that says of each what is missing."""
    faults = []
    for name in names:
        plan = read_plan(name, settings)
        if plan.service.name != service.name:
            faults.append(f"The backfill {name} is one of service {plan.service.name}.")
            continue
        missing = gate_fault(standing_of(_database(plan), name), plan.digest)
        faults += [f"The backfill {name}, which this change requires, {missing}."] if missing else []
    if faults:
        raise InvalidInput(" ".join(faults), expected="Each finished, with no row skipped: slipway backfill NAME.")


class _Way:
    """One process's way through a backfill."""

    def __init__(
        self, plan: BackfillPlan, ledger: Ledger, client: httpx.Client | None, tell: Tell, paused_by: PausedBy
    ) -> None:
        self.plan, self.ledger, self.client = plan, ledger, client
        self.tell, self.paused_by = tell, paused_by
        self.pace = Pace(size=plan.backfill.batch.start)
        self.limit = self.pace.size  # below the pace's size while a bad row is looked for
        self.timeouts, self.unwell = 0, ""
        self.began = self.ended_last = time.monotonic()
        self.held_s = self.held_since_last = 0.0
        self.told_at = self.looked_at = 0.0

    def to_its_end(self) -> Backfilled:
        if self.ledger.begin(self.plan.digest).rows_skipped:
            self._retry_skipped()
        standing = self.ledger.begin(self.plan.digest)
        while standing.finished_at is None:
            self._wait_until_fit(standing)
            standing = self._try_batch(standing)
            self._tell(standing)
        self._tell(standing, at_once=True)
        return Backfilled(
            rows_passed=standing.rows_passed,
            rows_changed=standing.rows_changed,
            skipped=tuple(SkippedRow(row=row, reason=why) for row, why in self.ledger.skipped().items()),
            working_s=round(time.monotonic() - self.began - self.held_s, 3),
            held_s=round(self.held_s, 3),
        )

    def _try_batch(self, standing: BackfillState) -> BackfillState:
        """One batch, or none: a time-out halves the size, bad data halves the batch until the row stands alone."""
        limit, began = min(self.limit, self.pace.size), time.monotonic()
        try:
            after, bad = self.ledger.advance(standing, limit)
        except TimedOut as error:
            cancellation.check()  # as above
            self._after_timeout(error)
            return standing
        except Refused:
            self.limit = max(1, limit // 2)
            return standing
        for row, reason in bad.items():
            logger.warning("skipped row %s of %s: %s", row, self.plan.backfill.table, reason)
        self._after_batch(after.rows_passed - standing.rows_passed, time.monotonic() - began)
        return after

    def _after_batch(self, rows: int, seconds: float) -> None:
        self.timeouts = 0
        if rows == 0:
            return
        now = time.monotonic()
        working, self.ended_last = now - self.ended_last - self.held_since_last, now
        self.held_since_last = 0.0
        if self.limit < self.pace.size:  # on the way to a bad row: no measure of the right size
            self.limit *= 2
        else:
            self.pace = after_batch(self.pace, self.plan.backfill.batch, rows, seconds, working)
            self.limit = self.pace.size
        _sleep(rest_s(self.plan.backfill.batch, seconds))

    def _after_timeout(self, error: TimedOut) -> None:
        self.timeouts += 1
        if self.timeouts >= MOST_TIMEOUTS:
            raise SlipwayError(
                f"{MOST_TIMEOUTS} tries in a row timed out, the last of {self.limit:,} rows: {error.failed}",
                expected=f"{self.plan.backfill.table} free of long locks, or a larger statement_timeout_s.",
                retry_is_safe=True,
            )
        self.pace = after_timeout(self.pace, self.plan.backfill.batch)
        self.limit = min(self.limit, self.pace.size)
        _sleep(wait_after_timeout(self.timeouts))

    def _wait_until_fit(self, standing: BackfillState) -> None:
        """Wait while somebody has paused the run or its service is not well, and tell why."""
        cancellation.check()
        began, told = time.monotonic(), ""
        while reason := self._reason_to_wait():
            self._tell(standing, reason, at_once=reason != told)
            told = reason
            _sleep(cancellation.EVERY_S)
        if told:
            waited = time.monotonic() - began
            self.held_s += waited
            self.held_since_last += waited

    def _reason_to_wait(self) -> str:
        by = self.paused_by()
        if by:
            self.looked_at = 0.0  # after a pause the service is looked at before anything is changed
            return f"paused by {by}"
        if time.monotonic() - self.looked_at < EVERY_S and not self.unwell:
            return ""
        self.unwell = "; ".join(self._look())
        self.looked_at = time.monotonic()
        return self.unwell

    def _look(self) -> list[str]:
        wanted = self.plan.backfill
        with self.ledger.looking() as connection:
            signals = read_signals(connection, wanted.health, wanted.table, self.client, self.plan.service.name)
        return hold_reasons(signals, wanted.health, wanted.table)

    def _retry_skipped(self) -> None:
        for row in self.ledger.skipped():
            cancellation.check()
            self.ledger.retry_skipped(row)

    def _tell(self, standing: BackfillState, held_because: str = "", *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self.told_at < EVERY_S:
            return
        self.told_at = now
        self.tell(
            BackfillProgress(
                rows_passed=standing.rows_passed,
                rows_changed=standing.rows_changed,
                rows_skipped=standing.rows_skipped,
                total=standing.total,
                total_is_exact=standing.total_is_exact,
                rows_per_s=self.pace.speed,
                eta_s=0.0 if standing.finished_at else eta_s(self.pace, standing.total, standing.rows_passed),
                batch=min(self.limit, self.pace.size),
                held_because=held_because,
            )
        )


def _ledger(plan: BackfillPlan, changes: Path) -> Ledger:
    return Ledger(_database(plan), plan.name, plan.backfill, _source(plan, changes))


def _database(plan: BackfillPlan) -> PostgreSQL:
    return postgresql_of(plan.service, "A backfill")


def _source(plan: BackfillPlan, changes: Path) -> Source:
    wanted = plan.backfill
    if wanted.csv is None:
        return ExpressionSource(wanted)
    content = read_csv(changes / plan.name, wanted)
    if wanted.digest(content) != plan.digest:
        raise InvalidInput(f"{wanted.csv.file} has changed since the run began.", expected="The file as it was.")
    rows = parse_rows(content, wanted.csv, wanted.key)
    if len(rows.bad) > wanted.max_bad_rows:
        raise InvalidInput(_bad_rows(wanted, rows.bad), expected=f"At most {wanted.max_bad_rows} (max_bad_rows).")
    return CsvSource(wanted, rows)


def _bad_rows(wanted: Backfill, bad: dict[int, str]) -> str:
    assert wanted.csv is not None
    first = "; ".join(f"row {row}: {reason}" for row, reason in list(bad.items())[:10])
    return f"{wanted.csv.file} has {len(bad)} bad rows: {first}."


@contextmanager
def _ended_when_interrupted(ledger: Ledger) -> Iterator[None]:
    """While we wait for the database, another thread asks whether we are interrupted, and then ends the statement."""
    over, context = Event(), copy_context()

    def watch() -> None:
        while not over.wait(cancellation.EVERY_S):
            try:
                context.run(cancellation.check)
            except Exception:
                ledger.cancel()

    thread = Thread(target=watch, name="backfill-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sleep(seconds: float) -> None:
    """Sleep, but not through an interruption."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        time.sleep(min(rest, cancellation.EVERY_S))
        cancellation.check()
