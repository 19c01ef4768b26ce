"""Migrate a live database in use: locks that other sessions hold, and index builds that stop half-way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from slipway.core import cancellation
from slipway.core.errors import SlipwayError, Unavailable
from slipway.databases.postgresql.migration_lock import hold_migration_lock
from slipway.migrations.migrate import migrate
from slipway.migrations.outcomes import Rehearsal
from slipway.migrations.rehearse import rehearse
from slipway.migrations.roll_back import roll_back
from tests.histories import BIN, VARIABLE, History, Move
from tests.stack.runs import wait_for

FIRST: Move = ("CREATE TABLE a (id int PRIMARY KEY, note text)", "DROP TABLE a")
COLUMN: Move = ("ALTER TABLE a ADD COLUMN size int", "ALTER TABLE a DROP COLUMN size")
CONCURRENT: Move = (
    "AUTOCOMMIT CREATE INDEX CONCURRENTLY a_note ON a (note)",
    "AUTOCOMMIT DROP INDEX CONCURRENTLY a_note",
)
UNIQUE: Move = (
    "AUTOCOMMIT CREATE UNIQUE INDEX CONCURRENTLY a_note ON a (note)",
    "AUTOCOMMIT DROP INDEX CONCURRENTLY a_note",
)
HALF: Move = (
    "CREATE TABLE b (id int) AUTOCOMMIT CREATE UNIQUE INDEX CONCURRENTLY a_note ON a (note)",
    "DROP INDEX a_note; DROP TABLE b",
)

Make = Callable[..., tuple[History, Rehearsal]]


@pytest.fixture(scope="module")
def rehearsals() -> dict[Move, Rehearsal]:
    """The rehearsal of each move, shared by all tests because they start with the same schema."""
    return {}


@pytest.fixture
def make(
    tmp_path: Path,
    database: str,
    forked_alembic: Path,
    monkeypatch: pytest.MonkeyPatch,
    rehearsals: dict[Move, Rehearsal],
) -> Make:
    """Return a function that makes a history at its first revision, with rows, and rehearses its second one."""
    monkeypatch.setenv(VARIABLE, database)
    monkeypatch.setattr("slipway.migrations.migrate.WAIT_PER_ATTEMPT_S", 0.3)

    def build(move: Move, **limits: Any) -> tuple[History, Rehearsal]:
        history = History(tmp_path, database, [FIRST, move], forked_alembic)
        history.set_revision("0001")
        history.run("INSERT INTO a SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        history.limits = limits
        if move not in rehearsals:
            rehearsals[move] = rehearse(history.plan("0001", "0002"), history.folder)
        return history, rehearsals[move]

    return build


@contextmanager
def busy(history: History, query: str = "SELECT count(*) FROM a") -> Iterator[psycopg.Connection[Any]]:
    """Open a session of the service that has read the table and keeps its transaction open."""
    url = history.live.connection_url().replace("+psycopg", "")
    with psycopg.connect(url, application_name="the shop") as connection:
        connection.execute(query)
        yield connection
        connection.rollback()


def commands() -> list[psutil.Process]:
    """Return the processes of the service's migration tool."""
    processes = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "bin/alembic" in " ".join(process.cmdline()):
                processes.append(process)
    return processes


def waiting(history: History) -> bool:
    """Return whether a session of the service's migration waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'slipway shop' AND wait_event_type = 'Lock'"
    return bool(history.run(query))


def test_a_migration_retries_with_short_lock_timeouts(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt times out while another session holds the lock, readers continue, and the last attempt succeeds."""
    monkeypatch.setattr(
        "slipway.databases.postgresql.migration_lock.POLL_EVERY_S", 0.01
    )  # each attempt records its blocker
    history, rehearsal = make(COLUMN, lock_timeout_s=1, tries=30)
    rehearsal = rehearsal.model_copy(update={"statements": ()})  # the locks of the migration are unknown
    migrations: list[Any] = []
    with busy(history):
        thread = threading.Thread(
            target=lambda: migrations.append(migrate(history.plan("0001", "0002"), history.folder, rehearsal))
        )
        thread.start()
        wait_for(lambda: "attempt 1 timed out on a lock" in caplog.text, "the timeout of the first attempt")
        assert history.run("SELECT count(*) FROM a") == [(100,)]
        wait_for(lambda: "attempt 2 timed out on a lock" in caplog.text, "the timeout of the second attempt")
    thread.join(300)
    [migration] = migrations
    assert migration.acted and history.version() == "0002"
    [blocker] = migration.blocked_by
    assert blocker.startswith("pid ") and "(the shop, idle in transaction, since " in blocker
    assert blocker.endswith(" UTC: SELECT count(*) FROM a)")


def test_a_migration_waits_for_a_long_transaction_without_an_attempt(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """While the same transaction holds the lock, no attempt starts; one attempt is enough when the transaction ends."""
    caplog.set_level(logging.INFO, "slipway.migrate")
    history, rehearsal = make(COLUMN, tries=12)
    migrations: list[Any] = []
    with busy(history):
        thread = threading.Thread(
            target=lambda: migrations.append(migrate(history.plan("0001", "0002"), history.folder, rehearsal))
        )
        thread.start()
        wait_for(lambda: "waiting for the locks of" in caplog.text, "the wait for the lock holders")
        time.sleep(1)  # longer than WAIT_PER_ATTEMPT_S, the wait for changing transactions
        assert (commands(), migrations, history.version()) == ([], [], "0001")
    thread.join(300)
    [migration] = migrations
    assert [run.argv for run in migration.commands if "upgrade" in run.argv] == [("alembic", "upgrade", "0002")]
    assert history.version() == "0002"
    [blocker] = migration.blocked_by
    assert "(the shop, idle in transaction, since " in blocker


def test_a_migration_does_not_wait_long_for_changing_transactions(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a different transaction holds the lock each time, an attempt starts after the short wait."""
    history, rehearsal = make(COLUMN, lock_timeout_s=60, tries=12)
    monkeypatch.setattr("slipway.databases.postgresql.lock_holders.LONG_S", 0.0)
    with ExitStack() as ends:
        others = [ends.enter_context(busy(history)) for _ in range(2)]
        for other in others:
            other.execute("SET SESSION lock_timeout = '1s'")
            other.commit()
            other.execute("SELECT count(*) FROM a")
        migrations: list[Any] = []
        thread = threading.Thread(
            target=lambda: migrations.append(migrate(history.plan("0001", "0002"), history.folder, rehearsal))
        )
        thread.start()
        turn = 0
        while not waiting(history):
            assert thread.is_alive()
            others[turn % 2].rollback()
            with suppress(psycopg.errors.LockNotAvailable):  # the attempt has started and waits first in the queue
                others[turn % 2].execute("SELECT count(*) FROM a")
            turn += 1
            time.sleep(0.05)
        for other in others:
            other.rollback()
        thread.join(300)
    [migration] = migrations
    assert migration.acted and history.version() == "0002"
    assert [run.argv for run in migration.commands if "upgrade" in run.argv] == [("alembic", "upgrade", "0002")]
    assert any("(the shop, idle in transaction, since " in blocker for blocker in migration.blocked_by)


def test_a_lock_that_is_never_released_fails_the_migration(make: Make) -> None:
    """The last attempt also times out; the error names the blocker, and the database is unchanged."""
    history, rehearsal = make(COLUMN, lock_timeout_s=0.1, tries=2)
    schema = history.live.schema()
    with busy(history), pytest.raises(SlipwayError) as failed:
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert "The migration could not get a lock in 2 attempts, blocked by pid " in failed.value.failed
    assert "The database is still at revision 0001." in failed.value.failed
    assert failed.value.expected == "No session holds a lock for long. End that session, or ship at a quieter time."
    assert failed.value.retry_is_safe
    assert history.live.schema() == schema


def test_a_cancellation_stops_the_migration_between_two_attempts(make: Make) -> None:
    """Nothing has been changed yet, so the cancellation takes effect immediately."""
    history, rehearsal = make(COLUMN, lock_timeout_s=0.1, tries=100)
    checks = 0

    class Cancelled(Exception):
        pass

    def check() -> None:
        nonlocal checks
        checks += 1
        raise Cancelled

    with busy(history), cancellation.interruptible(check), pytest.raises(Cancelled):
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert checks == 1
    assert history.version() == "0001"


def test_only_one_migration_runs_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second migration of the same database waits, and fails after a timeout."""
    history, rehearsal = make(COLUMN)
    monkeypatch.setattr("slipway.databases.postgresql.migration_lock.LOCK_WITHIN_S", 0.2)
    with hold_migration_lock(history.live), pytest.raises(Unavailable, match="Another process is migrating"):
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert history.version() == "0001"


def test_the_invalid_index_of_a_killed_build_is_dropped(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt drops the invalid index and migrates; the rollback restores the schema."""
    history, rehearsal = make(CONCURRENT, lock_timeout_s=60)
    history.bin_folder = BIN  # Alembic itself, not in a fork, because the test kills it
    assert rehearsal.reversibility == "lossless"
    plan, schema = history.plan("0001", "0002"), history.live.schema()

    def fail_to_migrate() -> None:
        with pytest.raises(SlipwayError):
            migrate(plan, history.folder, rehearsal)

    with monkeypatch.context() as patch, busy(history, "INSERT INTO a VALUES (1000, 'a build waits for writers')"):
        patch.setattr(
            "slipway.databases.postgresql.migration_lock.DROP_LOCK_TIMEOUT", "100ms"
        )  # the drop waits for writers too
        thread = threading.Thread(target=fail_to_migrate)
        thread.start()
        wait_for(lambda: waiting(history), "the build to wait for the transaction")
        for process in commands():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        thread.join(300)
        assert not thread.is_alive()
    migration = migrate(plan, history.folder, rehearsal)
    assert migration is not None and migration.acted
    assert migration.mended == ("public.a_note",)
    assert history.run("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_note'::regclass") == [(True,)]
    roll_back(plan, history.folder, rehearsal)
    assert history.live.schema() == schema


def test_a_failed_concurrent_build_leaves_no_index(make: Make) -> None:
    """A unique index over duplicate rows fails, and the schema is unchanged."""
    history, rehearsal = make(UNIQUE)
    schema = history.live.schema()
    history.run("INSERT INTO a VALUES (1000, 'note 1')")
    with pytest.raises(SlipwayError, match=r"could not create unique index|UniqueViolation") as failed:
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert failed.value.retry_is_safe
    assert history.live.schema() == schema


def test_a_schema_between_two_revisions_is_refused(make: Make) -> None:
    """Neither a migration nor a rollback starts from a schema between two revisions."""
    history, rehearsal = make(HALF)
    history.run("INSERT INTO a VALUES (1000, 'note 1')")
    plan = history.plan("0001", "0002")
    for move in (migrate, migrate, roll_back):
        with pytest.raises(SlipwayError) as failed:
            move(plan, history.folder, rehearsal)
        assert failed.value.failed.startswith(
            "The database is at revision 0001, but its schema differs from the rehearsed schema of that revision. It is "
            "between two revisions, or another session changed it."
        )
        assert not failed.value.retry_is_safe
    assert history.run("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []
