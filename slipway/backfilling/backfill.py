"""Run a backfill: one batch after another until no row is left, at a speed that the service tolerates."""

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
from slipway.backfilling.ledger import BackfillState, Ledger, application_name, read_state, reason_incomplete
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
from slipway.measurement.pages import service_client

EVERY_S = 1.0  # interval of progress reports and health checks
Report = Callable[[BackfillProgress], None]
PausedBy = Callable[[], str]
logger = logging.getLogger("slipway.backfill")


def read_plan(name: str, settings: Settings) -> BackfillPlan:
    """Read the backfill and its service from their files. Raises InvalidInput for errors in the files."""
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
    """Check the rows and the SQL against the table, and return the plan. Raises InvalidInput or Unavailable."""
    plan = read_plan(name, settings)
    with _ledger(plan, settings.changes) as ledger:
        ledger.check()
    return plan


def backfill(plan: BackfillPlan, changes: Path, report: Report, paused_by: PausedBy) -> Backfilled:
    """Continue a backfill from its cursor to the end. First retry the rows that were skipped before.

    Calls `report` about once a second. `paused_by` returns who paused the run and why, or "". If `cancellation.check` raises,
    the backfill stops between two batches or cancels the running batch. Raises SlipwayError; another call continues.
    """
    _database(plan).end_sessions(application_name(plan.name))  # the batch of a killed attempt may still be running
    with (
        _ledger(plan, changes) as ledger,
        _cancel_on_interruption(ledger),
        nullcontext() if plan.backfill.health.route is None else service_client(plan.service, None) as client,
    ):
        try:
            ledger.check()
            return _BackfillRun(plan, ledger, client, report, paused_by).run()
        except TimedOut:
            cancellation.check()  # cancellation ends the statement, which the database reports like a time-out
            raise


def describe_progress(plan: BackfillPlan) -> str:
    """Return the progress of a backfill as a sentence. Raises Unavailable."""
    state = read_state(_database(plan), plan.name)
    if state is None:
        return f"No row of {plan.backfill.table} was changed."
    about = "" if state.total_is_exact else "about "
    return (
        f"{state.rows_passed:,} of {about}{state.total:,} rows are done and stay changed; "
        f"slipway backfill {plan.name} continues from there."
    )


def require_finished(names: tuple[str, ...], service: Service, settings: Settings) -> None:
    """Check the backfills that a change requires. Raises InvalidInput with the reason for each incomplete backfill."""
    problems = []
    for name in names:
        plan = read_plan(name, settings)
        if plan.service.name != service.name:
            problems.append(f"The backfill {name} belongs to service {plan.service.name}.")
            continue
        reason = reason_incomplete(read_state(_database(plan), name), plan.digest)
        problems += [f"The backfill {name}, which this change requires, {reason}."] if reason else []
    if problems:
        raise InvalidInput(" ".join(problems), expected="All are finished and skipped no row: slipway backfill NAME.")


class _BackfillRun:
    """The run of a backfill in one process."""

    def __init__(
        self, plan: BackfillPlan, ledger: Ledger, client: httpx.Client | None, report: Report, paused_by: PausedBy
    ) -> None:
        self.plan, self.ledger, self.client = plan, ledger, client
        self.report, self.paused_by = report, paused_by
        self.pace = Pace(size=plan.backfill.batch.start)
        self.limit = self.pace.size  # less than the pace's size while searching for a bad row
        self.timeouts, self.unhealthy = 0, ""
        self.began = self.ended_last = time.monotonic()
        self.held_s = self.held_since_last = 0.0
        self.reported_at = self.checked_at = 0.0

    def run(self) -> Backfilled:
        if self.ledger.begin(self.plan.digest).rows_skipped:
            self._retry_skipped()
        state = self.ledger.begin(self.plan.digest)
        while state.finished_at is None:
            self._wait_until_healthy(state)
            state = self._try_batch(state)
            self._report(state)
        self._report(state, at_once=True)
        return Backfilled(
            rows_passed=state.rows_passed,
            rows_changed=state.rows_changed,
            skipped=tuple(SkippedRow(row=row, reason=reason) for row, reason in self.ledger.skipped().items()),
            working_s=round(time.monotonic() - self.began - self.held_s, 3),
            held_s=round(self.held_s, 3),
        )

    def _try_batch(self, state: BackfillState) -> BackfillState:
        """Run one batch. A time-out halves the batch size. Bad data halves the batch until it contains one row."""
        limit, began = min(self.limit, self.pace.size), time.monotonic()
        try:
            new_state, bad = self.ledger.advance(state, limit)
        except TimedOut as error:
            cancellation.check()  # cancellation looks like a time-out
            self._after_timeout(error)
            return state
        except Refused:
            self.limit = max(1, limit // 2)
            return state
        for row, reason in bad.items():
            logger.warning("skipped row %s of %s: %s", row, self.plan.backfill.table, reason)
        self._after_batch(new_state.rows_passed - state.rows_passed, time.monotonic() - began)
        return new_state

    def _after_batch(self, rows: int, seconds: float) -> None:
        self.timeouts = 0
        if rows == 0:
            return
        now = time.monotonic()
        working, self.ended_last = now - self.ended_last - self.held_since_last, now
        self.held_since_last = 0.0
        if self.limit < self.pace.size:  # while searching for a bad row, the time says nothing about the right size
            self.limit *= 2
        else:
            self.pace = after_batch(self.pace, self.plan.backfill.batch, rows, seconds, working)
            self.limit = self.pace.size
        _sleep(rest_s(self.plan.backfill.batch, seconds))

    def _after_timeout(self, error: TimedOut) -> None:
        self.timeouts += 1
        if self.timeouts >= MOST_TIMEOUTS:
            raise SlipwayError(
                f"{MOST_TIMEOUTS} attempts in a row timed out, the last with {self.limit:,} rows: {error.failed}",
                expected=f"No long locks on {self.plan.backfill.table}, or a larger statement_timeout_s.",
                retry_is_safe=True,
            )
        self.pace = after_timeout(self.pace, self.plan.backfill.batch)
        self.limit = min(self.limit, self.pace.size)
        _sleep(wait_after_timeout(self.timeouts))

    def _wait_until_healthy(self, state: BackfillState) -> None:
        """Wait while the run is paused or its service is not healthy, and report the reason."""
        cancellation.check()
        began, reported = time.monotonic(), ""
        while reason := self._reason_to_wait():
            self._report(state, reason, at_once=reason != reported)
            reported = reason
            _sleep(cancellation.EVERY_S)
        if reported:
            waited = time.monotonic() - began
            self.held_s += waited
            self.held_since_last += waited

    def _reason_to_wait(self) -> str:
        pause = self.paused_by()
        if pause:
            self.checked_at = 0.0  # after a pause, check the health before the next batch
            return f"paused by {pause}"
        if time.monotonic() - self.checked_at < EVERY_S and not self.unhealthy:
            return ""
        self.unhealthy = "; ".join(self._read_hold_reasons())
        self.checked_at = time.monotonic()
        return self.unhealthy

    def _read_hold_reasons(self) -> list[str]:
        definition = self.plan.backfill
        with self.ledger.health_connection() as connection:
            signals = read_signals(connection, definition.health, definition.table, self.client, self.plan.service.name)
        return hold_reasons(signals, definition.health, definition.table)

    def _retry_skipped(self) -> None:
        for row in self.ledger.skipped():
            cancellation.check()
            self.ledger.retry_skipped(row)

    def _report(self, state: BackfillState, held_because: str = "", *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self.reported_at < EVERY_S:
            return
        self.reported_at = now
        self.report(
            BackfillProgress(
                rows_passed=state.rows_passed,
                rows_changed=state.rows_changed,
                rows_skipped=state.rows_skipped,
                total=state.total,
                total_is_exact=state.total_is_exact,
                rows_per_s=self.pace.speed,
                eta_s=0.0 if state.finished_at else eta_s(self.pace, state.total, state.rows_passed),
                batch=min(self.limit, self.pace.size),
                held_because=held_because,
            )
        )


def _ledger(plan: BackfillPlan, changes: Path) -> Ledger:
    return Ledger(_database(plan), plan.name, plan.backfill, _source(plan, changes))


def _database(plan: BackfillPlan) -> PostgreSQL:
    return postgresql_of(plan.service, "A backfill")


def _source(plan: BackfillPlan, changes: Path) -> Source:
    definition = plan.backfill
    if definition.csv is None:
        return ExpressionSource(definition)
    content = read_csv(changes / plan.name, definition)
    if definition.digest(content) != plan.digest:
        raise InvalidInput(f"{definition.csv.file} has changed since the run started.", expected="The original file.")
    rows = parse_rows(content, definition.csv, definition.key)
    if len(rows.bad) > definition.max_bad_rows:
        raise InvalidInput(
            _format_bad_rows(definition, rows.bad),
            expected=f"No more bad rows than max_bad_rows = {definition.max_bad_rows}.",
        )
    return CsvSource(definition, rows)


def _format_bad_rows(definition: Backfill, bad: dict[int, str]) -> str:
    assert definition.csv is not None
    first = "; ".join(f"row {row}: {reason}" for row, reason in list(bad.items())[:10])
    return f"{definition.csv.file} has {len(bad)} bad rows: {first}."


@contextmanager
def _cancel_on_interruption(ledger: Ledger) -> Iterator[None]:
    """Start a thread that checks for cancellation, and then cancels the statement that the backfill waits for."""
    ended, context = Event(), copy_context()

    def watch() -> None:
        while not ended.wait(cancellation.EVERY_S):
            try:
                context.run(cancellation.check)
            except Exception:
                ledger.cancel()

    thread = Thread(target=watch, name="backfill-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sleep(seconds: float) -> None:
    """Sleep, and check for cancellation regularly."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        time.sleep(min(rest, cancellation.EVERY_S))
        cancellation.check()
