"""A backfill of a real table: exactly once across kills, time-outs, bad rows, pause, cancel, health, and the gate."""

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

from slipway.backfilling.backfill import how_far, read_plan, require_finished, validate
from slipway.backfilling.outcomes import BackfillProgress
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError
from tests.backfilling.backfills import ADD_ONE, HEAD, World
from tests.sites import Answer, Site

ROOT = Path(__file__).parents[2]
QUICK = "[batch]\nstart = 100\nsmallest = 10\nload = 1\n"


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    """A thousand accounts with a balance of 0, keys three apart."""
    made = World(tmp_path, database)
    yield made
    made.close()


@contextmanager
def session(world: World, *statements: str) -> Iterator[None]:
    """Another session, which holds a transaction open after these statements."""
    engine = create_engine(world.url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
            yield
    finally:
        engine.dispose()


def wait_for(look: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until `look` finds something; fails with what it waited for."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


class BackgroundCalls:
    """A backfill in its own thread, with its progress, its pauses and a way to stop it.

    The backfill waits for `on_progress`, which is called with each progress in its thread.
    """

    def __init__(self, world: World, on_progress: Callable[[BackgroundCalls], None] = lambda _: None) -> None:
        self.told: list[BackfillProgress] = []
        self._on_progress = on_progress
        self.paused_by = ""
        self.stop = False
        self.error: Exception | None = None
        self._world = world
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> BackgroundCalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended()

    def ended(self) -> None:
        """Wait for its end."""
        self._thread.join(300)
        assert not self._thread.is_alive()

    def held(self, words: str) -> bool:
        """Whether it tells that it holds for this reason."""
        return bool(self.told) and words in self.told[-1].held_because

    def _tell(self, progress: BackfillProgress) -> None:
        self.told.append(progress)
        self._on_progress(self)

    def _check(self) -> None:
        if self.stop:
            raise SlipwayError("Cancelled.", expected="It to go on.", retry_is_safe=True)

    def _run(self) -> None:
        try:
            with cancellation.interruptible(self._check):
                self._world.backfill(tell=self._tell, paused_by=lambda: self.paused_by)
        except Exception as error:
            self.error = error


def test_the_whole_way(world: World) -> None:
    """Every row is changed once, the progress ends at the whole, and a second run finds nothing left to do."""
    told: list[BackfillProgress] = []
    done = world.backfill(ADD_ONE + QUICK, told.append)
    assert (done.rows_passed, done.rows_changed, done.skipped) == (1_000, 1_000, ())
    assert world.balances() == (1_000, 1, 1)
    last = told[-1]
    assert (last.rows_passed, last.total, last.total_is_exact, last.eta_s) == (1_000, 1_000, True, 0)
    assert world.backfill().rows_changed == 1_000
    assert world.balances() == (1_000, 1, 1)


def test_rows_that_come_later_are_left_alone(world: World) -> None:
    """The upper bound is fixed when the backfill begins, so that it ends."""
    world.write(ADD_ONE + "[batch]\nstart = 10\nsmallest = 10\nlargest = 10\n")

    def add_a_row(beside: BackgroundCalls) -> None:
        if 0 < beside.told[-1].rows_passed < 1_000:
            world.run("INSERT INTO accounts (id, balance) VALUES (999999, 0) ON CONFLICT DO NOTHING")

    with BackgroundCalls(world, add_a_row) as beside:
        pass
    assert beside.error is None
    assert world.balances() == (1_000, 0, 1)


def test_only_the_rows_that_it_is_about(world: World) -> None:
    """`where` leaves rows out; colons, percent signs and quotes in expressions arrive as they were written."""
    content = HEAD + (
        "where = \"id % 2 = 0 AND '10:20' LIKE '%:2%' AND id::text <> ':x'\"\n"
        'set = { note = "\'at 10:20 \' || id::text", balance = "balance + 1" }\n'
    )
    assert world.backfill(content).rows_changed == 500
    assert world.value("SELECT note FROM accounts WHERE id = 6") == "at 10:20 6"
    assert world.balances() == (500, 0, 1)


def test_an_empty_table(world: World) -> None:
    """A table without rows is done at once."""
    world.run("TRUNCATE accounts")
    assert world.backfill(ADD_ONE).rows_passed == 0
    assert require_finished(("more",), read_plan("more", world.settings).service, world.settings) is None


def test_killed_again_and_again(tmp_path: Path, database: str) -> None:
    """After a kill at any moment the next process continues; no row is changed twice and none is lost."""
    world = World(tmp_path, database, rows=40_000)
    world.write(ADD_ONE + "[batch]\nstart = 10\nsmallest = 10\nlargest = 10\nload = 0.5\npause_s = 0.005\n")
    chance = random.Random(7)
    for _ in range(6):  # the pauses between the batches add up to 20 s, so no process finishes before its kill
        with at_work(tmp_path) as process:
            time.sleep(chance.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    assert 0 < world.value("SELECT cursor FROM slipway_backfill") < 120_000
    world.write(ADD_ONE + "[batch]\nstart = 5_000\nlargest = 5_000\ntarget_s = 1\nload = 1\n")
    world.backfill()
    assert world.balances() == (40_000, 1, 1)
    assert world.run("SELECT rows_passed, rows_changed FROM slipway_backfill") == [(40_000, 40_000)]
    world.close()


def at_work(folder: Path) -> subprocess.Popen[str]:
    """A process that has done its first batch."""
    command = [sys.executable, "-m", "tests.backfilling.backfills", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def test_a_lock_of_somebody_else(world: World) -> None:
    """Rows that are locked time out: the batch is halved, tried again, and done once the lock is gone."""
    world.write(
        ADD_ONE + "[batch]\nstart = 400\nsmallest = 10\nlargest = 400\nlock_timeout_s = 0.05\n[health]\n"
        "wait_for_autovacuum = false\n"
    )
    with session(world, "UPDATE accounts SET note = 'mine' WHERE id = 3"), BackgroundCalls(world) as beside:
        wait_for(lambda: beside.told and beside.told[-1].batch <= 25, "the batch to be halved to 25 rows")
        assert world.balances() == (0, 0, 0)
        beside.stop = True
        beside.ended()
    assert "Cancelled." in str(beside.error)
    assert world.backfill().rows_changed == 1_000
    assert world.balances() == (1_000, 1, 1)


def test_bad_rows_are_reported_and_skipped(world: World) -> None:
    """A row that the database refuses is found, skipped and told; all the others are done; mended, it is done too."""
    world.run("UPDATE accounts SET balance = 499 WHERE id IN (3, 1500, 3000)")
    done = world.backfill(ADD_ONE + "max_bad_rows = 3\n" + QUICK)
    assert [row.row for row in done.skipped] == [3, 1500, 3000]
    assert 'violates check constraint "accounts_balance_check"' in done.skipped[0].reason
    assert (done.rows_passed, done.rows_changed) == (1_000, 997)
    assert world.balances() == (997 + 3 * 499, 1, 499)
    with pytest.raises(InvalidInput, match="skipped 3 rows"):
        require_finished(("more",), read_plan("more", world.settings).service, world.settings)
    world.run("UPDATE accounts SET balance = 0 WHERE id IN (3, 1500, 3000)")
    again = world.backfill()
    assert (again.rows_changed, again.skipped) == (1_000, ())
    assert world.balances() == (1_000, 1, 1)
    require_finished(("more",), read_plan("more", world.settings).service, world.settings)


def test_a_constraint_that_is_checked_at_the_end(world: World) -> None:
    """A deferred constraint, which fails only when the batch is committed, finds its row as well."""
    world.run("ALTER TABLE accounts ADD UNIQUE (note) DEFERRABLE INITIALLY DEFERRED")
    world.run("UPDATE accounts SET note = 'x' || id")
    world.run("UPDATE accounts SET note = 'X3' WHERE id = 900")
    done = world.backfill(HEAD + 'set = { note = "lower(note)", balance = "balance + 1" }\nmax_bad_rows = 1\n')
    assert [row.row for row in done.skipped] == [900]
    assert world.balances() == (999, 0, 1)


def test_too_many_bad_rows(world: World) -> None:
    """One bad row more than was allowed ends the run, with the row; what was done stays done, and it can go on."""
    world.run("UPDATE accounts SET balance = 499 WHERE id IN (1500, 1800)")
    with pytest.raises(SlipwayError) as failed:
        world.backfill(ADD_ONE + "max_bad_rows = 1\n" + QUICK)
    assert failed.value.failed == (
        'accounts, row 1800: new row for relation "accounts" violates check constraint "accounts_balance_check". '
        "That makes 2 bad rows; 600 of 1,000 rows are done."
    )
    assert failed.value.expected == "At most 1 (max_bad_rows). What is done stays done."
    world.run("UPDATE accounts SET balance = 0 WHERE id = 1800")
    assert len(world.backfill().skipped) == 1
    assert world.balances() == (999 + 499, 1, 499)


def test_cancelled_between_two_batches(world: World) -> None:
    """A cancel stops it, what is done stays done and is told, and the next run goes on from there."""
    world.write(ADD_ONE + "[batch]\nstart = 10\nsmallest = 10\nlargest = 10\n")

    def cancel(beside: BackgroundCalls) -> None:
        beside.stop = beside.told[-1].rows_passed > 0

    with BackgroundCalls(world, cancel) as beside:
        pass
    assert "Cancelled." in str(beside.error)
    done = world.balances()[0]
    assert 0 < done < 1_000
    plan = read_plan("more", world.settings)
    assert how_far(plan) == (f"{done:,} of 1,000 rows are done and stay so; slipway backfill more goes on from there.")
    with pytest.raises(InvalidInput) as refused:
        require_finished(("more",), plan.service, world.settings)
    assert refused.value.failed == (
        f"The backfill more, which this change requires, is not finished: {done:,} of 1,000 rows are done."
    )
    assert refused.value.expected == "Each finished, with no row skipped: slipway backfill NAME."
    world.backfill(ADD_ONE)
    assert world.balances() == (1_000, 1, 1)


def test_cancelled_inside_a_batch(world: World) -> None:
    """A cancel ends the statement that runs; nothing of its batch was done."""
    world.write(
        HEAD + 'set = { balance = "balance + 1 + length(pg_sleep(600)::text)" }\n[batch]\nstatement_timeout_s = 600\n'
    )
    active = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE application_name = 'slipway backfill more' AND wait_event = 'PgSleep' AND query LIKE '%UPDATE %'"
    )
    with BackgroundCalls(world) as beside:
        wait_for(lambda: world.run(active), "the update to run")
        beside.stop = True
        beside.ended()
    assert "Cancelled." in str(beside.error)
    assert world.balances() == (0, 0, 0)


def test_paused_and_resumed(world: World) -> None:
    """While somebody pauses it nothing is changed and it says who; then it goes on."""
    world.write(ADD_ONE + QUICK)
    beside = BackgroundCalls(world)
    beside.paused_by = "Ada: rush hour"
    with beside:
        wait_for(lambda: beside.held("paused by Ada: rush hour"), "the pause to be told")
        assert world.balances() == (0, 0, 0)
        beside.paused_by = ""
    assert beside.error is None
    assert beside.told[-1].held_because == ""
    assert world.balances() == (1_000, 1, 1)


def test_held_by_a_long_transaction(world: World) -> None:
    """A transaction of somebody else that lasts too long holds it, with the reason, until that has ended."""
    world.write(ADD_ONE + QUICK + "[health]\nlongest_transaction_s = 0.2\n")
    with ExitStack() as stack, session(world, "SELECT 1"):
        time.sleep(0.25)  # the transaction is too long before the backfill looks for the first time
        beside = stack.enter_context(BackgroundCalls(world))
        wait_for(lambda: beside.held("the longest transaction takes"), "the hold")
        assert world.balances() == (0, 0, 0)
    assert beside.error is None
    assert world.balances() == (1_000, 1, 1)


def test_held_by_the_service_itself(world: World, site: Site) -> None:
    """A service that answers slowly or not at all holds it; once it answers well, it goes on."""
    config = world.settings.config
    config.write_text(config.read_text().replace("http://127.0.0.1:9", site.url))
    world.write(ADD_ONE + '[health]\nroute = "/health"\nlatency_ms = 60000\n')
    site.pages["/health"] = Answer("", 503)
    with BackgroundCalls(world) as beside:
        wait_for(lambda: beside.held("GET /health cannot be seen: it does not answer well"), "the hold")
        assert world.balances() == (0, 0, 0)
        site.pages["/health"] = Answer("ok")
    assert beside.error is None
    assert world.balances() == (1_000, 1, 1)


def test_no_replica_is_no_pass(world: World) -> None:
    """Who asks for a limit of the lag gets a hold while no replica tells of one."""
    world.write(ADD_ONE + "[health]\nreplication_lag_s = 5\n")
    with BackgroundCalls(world) as beside:
        wait_for(lambda: beside.held("the replication lag cannot be seen: no replica is streaming"), "the hold")
        beside.stop = True
    assert world.balances() == (0, 0, 0)


def test_another_file_under_the_same_name(world: World) -> None:
    """What decides the outcome may not change once it has begun; batches and limits may."""
    world.backfill(ADD_ONE)
    world.backfill(ADD_ONE + QUICK)
    with pytest.raises(InvalidInput) as refused:
        world.backfill(ADD_ONE.replace("+ 1", "+ 2"))
    assert str(refused.value) == (
        "The backfill more was begun with another file: 1,000 of 1,000 rows are done. "
        "Expected: The file as it was; what is to be done otherwise gets another name. A retry is safe."
    )
    with pytest.raises(InvalidInput, match="was run with another file"):
        require_finished(("more",), read_plan("more", world.settings).service, world.settings)
    assert world.balances() == (1_000, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('table = "accounts"', 'table = "nowhere"', "There is no column id in nowhere."),
        ('key = "id"', 'key = "note"', "The key note of accounts is of type text."),
        ('key = "id"', 'key = "twice"', "The key twice of accounts is not unique and NOT NULL."),
        (
            "balance + 1",
            "balances + 1",
            'The database refuses backfill more: column "balances" does not exist.',
        ),
        ("balance + 1", "now()", 'The database refuses backfill more: column "balance" is of type integer'),
        ("balance + 1", "1) , (2", "The database refuses backfill more: syntax error"),
    ],
)
def test_what_does_not_fit_the_table(world: World, old: str, new: str, told: str) -> None:
    """A table, key or expression that the database does not know is refused before anything is written."""
    world.run("ALTER TABLE accounts ADD twice int NOT NULL DEFAULT 1")
    world.write(ADD_ONE.replace(old, new))
    with pytest.raises(InvalidInput) as refused:
        validate("more", world.settings)
    assert told in refused.value.failed
    assert world.value("SELECT to_regclass('slipway_backfill') IS NULL")
    assert world.balances() == (0, 0, 0)


def test_a_gate_before_anything_has_begun(world: World) -> None:
    """A change that requires a backfill which nobody ran is told so."""
    world.write(ADD_ONE)
    with pytest.raises(InvalidInput) as refused:
        require_finished(("more",), read_plan("more", world.settings).service, world.settings)
    assert refused.value.failed == "The backfill more, which this change requires, has not begun."


CSV = HEAD + '{more}\n[csv]\nfile = "rows.csv"\ncolumns = {{ id = "integer", note = "text", since = "date" }}\n'


def test_rows_from_a_file(world: World) -> None:
    """Rows of a CSV file are matched by key, whatever their order; an empty field is NULL."""
    world.run("UPDATE accounts SET note = 'old'")
    world.write(CSV.format(more=""), 'since,id,note\n2026-01-02,9,"nine, or 9"\n\n,3,\n2026-01-03,6,six\n')
    done = world.backfill()
    assert (done.rows_passed, done.rows_changed) == (3, 3)
    rows = world.run("SELECT id, note, since::text FROM accounts WHERE id <= 12 ORDER BY id")
    assert rows == [(3, None, None), (6, "six", "2026-01-03"), (9, "nine, or 9", "2026-01-02"), (12, "old", None)]


def test_bad_rows_of_a_file(world: World) -> None:
    """Each bad row is told by its number; good ones are done."""
    lines = ["id,note,since", "3,three,2026-01-02", "x,y,", "3,again,", "6,six,2026-02-30", "5,none,", "9,n", "12,t,"]
    world.write(CSV.format(more="max_bad_rows = 5"), "\n".join(lines))
    done = world.backfill()
    assert [(row.row, row.reason) for row in done.skipped] == [
        (3, "id: 'x' is no integer"),
        (4, "id: 3 stands in row 2 already"),
        (5, "since: '2026-02-30' is no date"),
        (6, "id: the table has no row 5"),
        (7, "2 fields instead of 3"),
    ]
    assert world.run("SELECT id, note FROM accounts WHERE note IS NOT NULL ORDER BY id") == [(3, "three"), (12, "t")]


def test_a_file_with_too_many_bad_rows(world: World) -> None:
    """A file with more bad rows than allowed is refused before anything is changed."""
    world.write(CSV.format(more="max_bad_rows = 1"), "id,note,since\nx,,\n3,,x\n6,six,\n")
    with pytest.raises(InvalidInput) as refused:
        validate("more", world.settings)
    assert str(refused.value) == (
        "rows.csv has 2 bad rows: row 2: id: 'x' is no integer; row 3: since: 'x' is no date. "
        "Expected: At most 1 (max_bad_rows). A retry is safe."
    )
