"""A backfill of a real table: exactly-once changes with kills, time-outs, bad rows, pauses, cancellation and health checks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from slipway.backfilling.backfill import describe_progress, read_plan, require_finished, validate
from slipway.backfilling.outcomes import BackfillProgress
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError
from tests.backfilling.backfills import ADD_ONE, HEAD, World
from tests.sites import Answer, Site

ROOT = Path(__file__).parents[2]
QUICK = "[batch]\nstart = 100\nsmallest = 10\nload = 1\n"


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    """Create a thousand accounts with a balance of 0 and the keys 3, 6, 9, …"""
    created = World(tmp_path, database)
    yield created
    created.close()


@contextmanager
def session(world: World, *statements: str) -> Iterator[None]:
    """Run these statements in another session, and keep its transaction open during the block."""
    engine = create_engine(world.url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
            yield
    finally:
        engine.dispose()


def wait_for(condition: Callable[[], object], description: str, seconds: float = 120) -> None:
    """Wait until `condition` is true. After the deadline, fail with `description`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {description}"
        time.sleep(0.02)


class BackgroundBackfill:
    """A backfill in its own thread. Records its progress, and can pause and cancel it.

    Each progress report calls `on_progress` in the thread of the backfill, which waits for the call.
    """

    def __init__(self, world: World, on_progress: Callable[[BackgroundBackfill], None] = lambda _: None) -> None:
        self.reports: list[BackfillProgress] = []
        self._on_progress = on_progress
        self.paused_by = ""
        self.stop = False
        self.error: Exception | None = None
        self._world = world
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> BackgroundBackfill:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def wait(self) -> None:
        """Wait for the end of the backfill."""
        self._thread.join(300)
        assert not self._thread.is_alive()

    def is_held(self, reason: str) -> bool:
        """Return whether the newest report contains this reason for a hold."""
        return bool(self.reports) and reason in self.reports[-1].held_because

    def _report(self, progress: BackfillProgress) -> None:
        self.reports.append(progress)
        self._on_progress(self)

    def _check(self) -> None:
        if self.stop:
            raise SlipwayError("Cancelled.", expected="The backfill continues.", retry_is_safe=True)

    def _run(self) -> None:
        try:
            with cancellation.interruptible(self._check):
                self._world.backfill(report=self._report, paused_by=lambda: self.paused_by)
        except Exception as error:
            self.error = error


def test_backfill_changes_every_row_once(world: World) -> None:
    """The last progress report is complete, and a second run changes nothing."""
    reports: list[BackfillProgress] = []
    result = world.backfill(ADD_ONE + QUICK, reports.append)
    assert (result.rows_passed, result.rows_changed, result.skipped) == (1_000, 1_000, ())
    assert world.balances() == (1_000, 1, 1)
    last = reports[-1]
    assert (last.rows_passed, last.total, last.total_is_exact, last.eta_s) == (1_000, 1_000, True, 0)
    assert world.backfill().rows_changed == 1_000
    assert world.balances() == (1_000, 1, 1)


def test_rows_that_are_inserted_later_are_not_changed(world: World) -> None:
    """The upper bound is fixed when the backfill starts, so that the backfill ends."""
    world.write(ADD_ONE + "[batch]\nstart = 10\nsmallest = 10\nlargest = 10\n")

    def insert_row(background: BackgroundBackfill) -> None:
        if 0 < background.reports[-1].rows_passed < 1_000:
            world.run("INSERT INTO accounts (id, balance) VALUES (999999, 0) ON CONFLICT DO NOTHING")

    with BackgroundBackfill(world, insert_row) as background:
        pass
    assert background.error is None
    assert world.balances() == (1_000, 0, 1)


def test_where_limits_the_rows(world: World) -> None:
    """Only rows that match `where` are changed. Colons, percent signs and quotes in expressions stay as written."""
    content = HEAD + (
        "where = \"id % 2 = 0 AND '10:20' LIKE '%:2%' AND id::text <> ':x'\"\n"
        'set = { note = "\'at 10:20 \' || id::text", balance = "balance + 1" }\n'
    )
    assert world.backfill(content).rows_changed == 500
    assert world.value("SELECT note FROM accounts WHERE id = 6") == "at 10:20 6"
    assert world.balances() == (500, 0, 1)


def test_empty_table_finishes_immediately(world: World) -> None:
    """The backfill of a table without rows is finished, also for a change that requires it."""
    world.run("TRUNCATE accounts")
    assert world.backfill(ADD_ONE).rows_passed == 0
    assert require_finished(("more",), read_plan("more", world.settings).service, world.settings) is None


def test_killed_backfill_continues(tmp_path: Path, database: str) -> None:
    """After a kill at any time, the next process continues. No row is changed twice, and no row is left out."""
    world = World(tmp_path, database, rows=40_000)
    world.write(ADD_ONE + "[batch]\nstart = 10\nsmallest = 10\nlargest = 10\nload = 0.5\npause_s = 0.005\n")
    chance = random.Random(7)
    for _ in range(6):  # the pauses between the batches add up to 20 s, so no process finishes before its kill
        with started_backfill(tmp_path) as process:
            time.sleep(chance.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    assert 0 < world.value("SELECT cursor FROM slipway_backfill") < 120_000
    world.write(ADD_ONE + "[batch]\nstart = 5_000\nlargest = 5_000\ntarget_s = 1\nload = 1\n")
    world.backfill()
    assert world.balances() == (40_000, 1, 1)
    assert world.run("SELECT rows_passed, rows_changed FROM slipway_backfill") == [(40_000, 40_000)]
    world.close()


def started_backfill(folder: Path) -> subprocess.Popen[str]:
    """Start a process, and wait until it has finished its first batch."""
    command = [sys.executable, "-m", "tests.backfilling.backfills", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def test_locked_rows_are_retried_with_smaller_batches(world: World) -> None:
    """If rows are locked, the batch times out, is halved and retried. It succeeds when the lock is released."""
    world.write(
        ADD_ONE + "[batch]\nstart = 400\nsmallest = 10\nlargest = 400\nlock_timeout_s = 0.05\n[health]\n"
        "wait_for_autovacuum = false\n"
    )
    with session(world, "UPDATE accounts SET note = 'mine' WHERE id = 3"), BackgroundBackfill(world) as background:
        wait_for(lambda: background.reports and background.reports[-1].batch <= 25, "the batch to be halved to 25 rows")
        assert world.balances() == (0, 0, 0)
        background.stop = True
        background.wait()
    assert "Cancelled." in str(background.error)
    assert world.backfill().rows_changed == 1_000
    assert world.balances() == (1_000, 1, 1)


def test_bad_rows_are_reported_and_skipped(world: World) -> None:
    """Rows that the database rejects are skipped, and all others are changed. A later run changes them after a fix."""
    world.run("UPDATE accounts SET balance = 499 WHERE id IN (3, 1500, 3000)")
    result = world.backfill(ADD_ONE + "max_bad_rows = 3\n" + QUICK)
    assert [row.row for row in result.skipped] == [3, 1500, 3000]
    assert 'violates check constraint "accounts_balance_check"' in result.skipped[0].reason
    assert (result.rows_passed, result.rows_changed) == (1_000, 997)
    assert world.balances() == (997 + 3 * 499, 1, 499)
    with pytest.raises(InvalidInput, match="skipped 3 rows"):
        require_finished(("more",), read_plan("more", world.settings).service, world.settings)
    world.run("UPDATE accounts SET balance = 0 WHERE id IN (3, 1500, 3000)")
    second = world.backfill()
    assert (second.rows_changed, second.skipped) == (1_000, ())
    assert world.balances() == (1_000, 1, 1)
    require_finished(("more",), read_plan("more", world.settings).service, world.settings)


def test_row_that_violates_a_deferred_constraint_is_skipped(world: World) -> None:
    """The row is found although the constraint is only checked when the batch is committed."""
    world.run("ALTER TABLE accounts ADD UNIQUE (note) DEFERRABLE INITIALLY DEFERRED")
    world.run("UPDATE accounts SET note = 'x' || id")
    world.run("UPDATE accounts SET note = 'X3' WHERE id = 900")
    result = world.backfill(HEAD + 'set = { note = "lower(note)", balance = "balance + 1" }\nmax_bad_rows = 1\n')
    assert [row.row for row in result.skipped] == [900]
    assert world.balances() == (999, 0, 1)


def test_too_many_bad_rows_end_the_run(world: World) -> None:
    """The error names the row that exceeds the limit. Finished batches are kept, and a later run continues."""
    world.run("UPDATE accounts SET balance = 499 WHERE id IN (1500, 1800)")
    with pytest.raises(SlipwayError) as failed:
        world.backfill(ADD_ONE + "max_bad_rows = 1\n" + QUICK)
    assert failed.value.failed == (
        'accounts, row 1800: new row for relation "accounts" violates check constraint "accounts_balance_check". '
        "There are now 2 bad rows; 600 of 1,000 rows are done."
    )
    assert failed.value.expected == "No more bad rows than max_bad_rows = 1. Finished batches are kept."
    world.run("UPDATE accounts SET balance = 0 WHERE id = 1800")
    assert len(world.backfill().skipped) == 1
    assert world.balances() == (999 + 499, 1, 499)


def test_cancellation_between_batches_keeps_finished_rows(world: World) -> None:
    """Finished rows are kept and reported. The next run continues from there."""
    world.write(ADD_ONE + "[batch]\nstart = 10\nsmallest = 10\nlargest = 10\n")

    def cancel(background: BackgroundBackfill) -> None:
        background.stop = background.reports[-1].rows_passed > 0

    with BackgroundBackfill(world, cancel) as background:
        pass
    assert "Cancelled." in str(background.error)
    done = world.balances()[0]
    assert 0 < done < 1_000
    plan = read_plan("more", world.settings)
    assert describe_progress(plan) == (
        f"{done:,} of 1,000 rows are done and stay changed; slipway backfill more continues from there."
    )
    with pytest.raises(InvalidInput) as refused:
        require_finished(("more",), plan.service, world.settings)
    assert refused.value.failed == (
        f"The backfill more, which this change requires, is not finished: {done:,} of 1,000 rows are done."
    )
    assert refused.value.expected == "All are finished and skipped no row: slipway backfill NAME."
    world.backfill(ADD_ONE)
    assert world.balances() == (1_000, 1, 1)


def test_cancellation_within_a_batch_rolls_it_back(world: World) -> None:
    """Cancellation ends the running statement, and no row of its batch is changed."""
    world.write(
        HEAD + 'set = { balance = "balance + 1 + length(pg_sleep(600)::text)" }\n[batch]\nstatement_timeout_s = 600\n'
    )
    active = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE application_name = 'slipway backfill more' AND wait_event = 'PgSleep' AND query LIKE '%UPDATE %'"
    )
    with BackgroundBackfill(world) as background:
        wait_for(lambda: world.run(active), "the update to run")
        background.stop = True
        background.wait()
    assert "Cancelled." in str(background.error)
    assert world.balances() == (0, 0, 0)


def test_paused_backfill_changes_nothing_until_resumed(world: World) -> None:
    """While the backfill is paused, its progress names the user who paused it."""
    world.write(ADD_ONE + QUICK)
    background = BackgroundBackfill(world)
    background.paused_by = "Ada: rush hour"
    with background:
        wait_for(lambda: background.is_held("paused by Ada: rush hour"), "the report of the pause")
        assert world.balances() == (0, 0, 0)
        background.paused_by = ""
    assert background.error is None
    assert background.reports[-1].held_because == ""
    assert world.balances() == (1_000, 1, 1)


def test_long_transaction_holds_the_backfill(world: World) -> None:
    """The backfill reports the reason, and continues when the transaction of another session has ended."""
    world.write(ADD_ONE + QUICK + "[health]\nlongest_transaction_s = 0.2\n")
    with ExitStack() as stack, session(world, "SELECT 1"):
        time.sleep(0.25)  # the transaction exceeds the limit before the first health check
        background = stack.enter_context(BackgroundBackfill(world))
        wait_for(lambda: background.is_held("the longest transaction: "), "the hold")
        assert world.balances() == (0, 0, 0)
    assert background.error is None
    assert world.balances() == (1_000, 1, 1)


def test_unhealthy_service_holds_the_backfill(world: World, site: Site) -> None:
    """While the service answers with 503, the backfill holds. It continues when the service answers normally."""
    config = world.settings.config
    config.write_text(config.read_text().replace("http://127.0.0.1:9", site.url))
    world.write(ADD_ONE + '[health]\nroute = "/health"\nlatency_ms = 60000\n')
    site.pages["/health"] = Answer("", 503)
    with BackgroundBackfill(world) as background:
        wait_for(lambda: background.is_held("GET /health could not be measured: the route does not answer"), "the hold")
        assert world.balances() == (0, 0, 0)
        site.pages["/health"] = Answer("ok")
    assert background.error is None
    assert world.balances() == (1_000, 1, 1)


def test_missing_replica_holds_the_backfill(world: World) -> None:
    """A limit of the replication lag holds the backfill while no replica is streaming."""
    world.write(ADD_ONE + "[health]\nreplication_lag_s = 5\n")
    with BackgroundBackfill(world) as background:
        wait_for(
            lambda: background.is_held("the replication lag could not be measured: no replica is streaming"), "the hold"
        )
        background.stop = True
    assert world.balances() == (0, 0, 0)


def test_changed_backfill_needs_another_name(world: World) -> None:
    """After the start, fields that affect the result cannot change. Batches and limits can."""
    world.backfill(ADD_ONE)
    world.backfill(ADD_ONE + QUICK)
    with pytest.raises(InvalidInput) as refused:
        world.backfill(ADD_ONE.replace("+ 1", "+ 2"))
    assert str(refused.value) == (
        "The backfill more was started with a different file: 1,000 of 1,000 rows are done. "
        "Expected: The original file. A different backfill needs another name. A retry is safe."
    )
    with pytest.raises(InvalidInput, match="was run with a different file"):
        require_finished(("more",), read_plan("more", world.settings).service, world.settings)
    assert world.balances() == (1_000, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('table = "accounts"', 'table = "nowhere"', "There is no column id in nowhere."),
        ('key = "id"', 'key = "note"', "The key note of accounts is of type text."),
        ('key = "id"', 'key = "twice"', "The key twice of accounts is not unique and NOT NULL."),
        (
            "balance + 1",
            "balances + 1",
            'The database rejects backfill more: column "balances" does not exist.',
        ),
        ("balance + 1", "now()", 'The database rejects backfill more: column "balance" is of type integer'),
        ("balance + 1", "1) , (2", "The database rejects backfill more: syntax error"),
    ],
)
def test_invalid_table_key_or_expression_is_rejected(world: World, old: str, new: str, message: str) -> None:
    """The backfill is rejected before anything is written."""
    world.run("ALTER TABLE accounts ADD twice int NOT NULL DEFAULT 1")
    world.write(ADD_ONE.replace(old, new))
    with pytest.raises(InvalidInput) as refused:
        validate("more", world.settings)
    assert message in refused.value.failed
    assert world.value("SELECT to_regclass('slipway_backfill') IS NULL")
    assert world.balances() == (0, 0, 0)


def test_change_is_rejected_if_its_backfill_has_not_started(world: World) -> None:
    """A change that requires the backfill is rejected with this reason."""
    world.write(ADD_ONE)
    with pytest.raises(InvalidInput) as refused:
        require_finished(("more",), read_plan("more", world.settings).service, world.settings)
    assert refused.value.failed == "The backfill more, which this change requires, has not started."


CSV = HEAD + '{more}\n[csv]\nfile = "rows.csv"\ncolumns = {{ id = "integer", note = "text", since = "date" }}\n'


def test_values_can_come_from_a_csv_file(world: World) -> None:
    """Rows of a CSV file are matched by key, in any order. An empty field is NULL."""
    world.run("UPDATE accounts SET note = 'old'")
    world.write(CSV.format(more=""), 'since,id,note\n2026-01-02,9,"nine, or 9"\n\n,3,\n2026-01-03,6,six\n')
    result = world.backfill()
    assert (result.rows_passed, result.rows_changed) == (3, 3)
    rows = world.run("SELECT id, note, since::text FROM accounts WHERE id <= 12 ORDER BY id")
    assert rows == [(3, None, None), (6, "six", "2026-01-03"), (9, "nine, or 9", "2026-01-02"), (12, "old", None)]


def test_bad_rows_of_a_csv_file_are_skipped(world: World) -> None:
    """Each bad row is reported with its number, and the good rows are changed."""
    lines = ["id,note,since", "3,three,2026-01-02", "x,y,", "3,again,", "6,six,2026-02-30", "5,none,", "9,n", "12,t,"]
    world.write(CSV.format(more="max_bad_rows = 5"), "\n".join(lines))
    result = world.backfill()
    assert [(row.row, row.reason) for row in result.skipped] == [
        (3, "id: 'x' is not a valid integer"),
        (4, "id: 3 is already in row 2"),
        (5, "since: '2026-02-30' is not a valid date"),
        (6, "id: the table has no row 5"),
        (7, "2 fields instead of 3"),
    ]
    assert world.run("SELECT id, note FROM accounts WHERE note IS NOT NULL ORDER BY id") == [(3, "three"), (12, "t")]


def test_csv_file_with_too_many_bad_rows_is_rejected(world: World) -> None:
    """The file is rejected before anything is changed."""
    world.write(CSV.format(more="max_bad_rows = 1"), "id,note,since\nx,,\n3,,x\n6,six,\n")
    with pytest.raises(InvalidInput) as refused:
        validate("more", world.settings)
    assert str(refused.value) == (
        "rows.csv has 2 bad rows: row 2: id: 'x' is not a valid integer; row 3: since: 'x' is not a valid date. "
        "Expected: No more bad rows than max_bad_rows = 1. A retry is safe."
    )
