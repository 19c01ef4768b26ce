"""Migrating a live database that others use: locks that are not to be had, and builds that end half-way."""

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
from slipway.databases.postgresql.migration_lock import only_mover
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
    """The rehearsal of each move: the same for all tests, as they all begin with the same schema."""
    return {}


@pytest.fixture
def make(
    tmp_path: Path,
    database: str,
    forked_alembic: Path,
    monkeypatch: pytest.MonkeyPatch,
    rehearsals: dict[Move, Rehearsal],
) -> Make:
    """Make a history whose live database is at its first revision, with rows, and rehearse its second one."""
    monkeypatch.setenv(VARIABLE, database)
    monkeypatch.setattr("slipway.migrations.migrate.GAP_WITHIN_S", 0.3)

    def build(move: Move, **limits: Any) -> tuple[History, Rehearsal]:
        history = History(tmp_path, database, [FIRST, move], forked_alembic)
        history.stand_at("0001")
        history.run("INSERT INTO a SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        history.limits = limits
        if move not in rehearsals:
            rehearsals[move] = rehearse(history.plan("0001", "0002"), history.folder)
        return history, rehearsals[move]

    return build


@contextmanager
def busy(history: History, query: str = "SELECT count(*) FROM a") -> Iterator[psycopg.Connection[Any]]:
    """A session of the service that has used the table and stays in its transaction."""
    url = history.live.connection_url().replace("+psycopg", "")
    with psycopg.connect(url, application_name="the shop") as connection:
        connection.execute(query)
        yield connection
        connection.rollback()


def commands() -> list[psutil.Process]:
    """The processes of the service's migration tool."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "bin/alembic" in " ".join(process.cmdline()):
                found.append(process)
    return found


def waiting(history: History) -> bool:
    """Whether a session of the service's migration waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'slipway shop' AND wait_event_type = 'Lock'"
    return bool(history.run(query))


def test_a_lock_is_waited_for_in_short_tries(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While somebody keeps the table each try gives up, others read it in between, and the move is made at last."""
    monkeypatch.setattr(
        "slipway.databases.postgresql.migration_lock.LOOK_EVERY_S", 0.01
    )  # so that each try sees its blocker
    history, rehearsal = make(COLUMN, lock_timeout_s=1, tries=30)
    rehearsal = rehearsal.model_copy(update={"statements": ()})  # which locks it takes is not known
    made: list[Any] = []
    with busy(history):
        thread = threading.Thread(
            target=lambda: made.append(migrate(history.plan("0001", "0002"), history.folder, rehearsal))
        )
        thread.start()
        wait_for(lambda: "try 1 got no lock in time" in caplog.text, "the first try to give up")
        assert history.run("SELECT count(*) FROM a") == [(100,)]
        wait_for(lambda: "try 2 got no lock in time" in caplog.text, "the second try to give up")
    thread.join(300)
    [migration] = made
    assert migration.acted and history.version() == "0002"
    [blocker] = migration.blocked_by
    assert blocker.startswith("pid ") and "(the shop, idle in transaction, since " in blocker
    assert blocker.endswith(" UTC: SELECT count(*) FROM a)")


def test_who_stays_in_the_way_is_waited_for_without_asking(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A try would be in vain, so none is made for as long as a ladder has pauses; the first gap is enough."""
    caplog.set_level(logging.INFO, "slipway.migrate")
    history, rehearsal = make(COLUMN, tries=12)
    made: list[Any] = []
    with busy(history):
        thread = threading.Thread(
            target=lambda: made.append(migrate(history.plan("0001", "0002"), history.folder, rehearsal))
        )
        thread.start()
        wait_for(lambda: "waiting for a gap behind" in caplog.text, "the wait for a gap")
        time.sleep(1)  # longer than GAP_WITHIN_S, after which a try is made where others come and go
        assert (commands(), made, history.version()) == ([], [], "0001")
    thread.join(300)
    [migration] = made
    assert [ran.argv for ran in migration.commands if "upgrade" in ran.argv] == [("alembic", "upgrade", "0002")]
    assert history.version() == "0002"
    [blocker] = migration.blocked_by
    assert "(the shop, idle in transaction, since " in blocker


def test_transactions_that_come_and_go_are_not_waited_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is always another one in the way, a try is made after the short wait: it may slip in between."""
    history, rehearsal = make(COLUMN, lock_timeout_s=60, tries=12)
    monkeypatch.setattr("slipway.databases.postgresql.lock_holders.LONG_S", 0.0)
    with ExitStack() as ends:
        others = [ends.enter_context(busy(history)) for _ in range(2)]
        for other in others:
            other.execute("SET SESSION lock_timeout = '1s'")
            other.commit()
            other.execute("SELECT count(*) FROM a")
        made: list[Any] = []
        thread = threading.Thread(
            target=lambda: made.append(migrate(history.plan("0001", "0002"), history.folder, rehearsal))
        )
        thread.start()
        turn = 0
        while not waiting(history):
            assert thread.is_alive()
            others[turn % 2].rollback()
            with suppress(psycopg.errors.LockNotAvailable):  # the try has begun meanwhile, and comes first
                others[turn % 2].execute("SELECT count(*) FROM a")
            turn += 1
            time.sleep(0.05)
        for other in others:
            other.rollback()
        thread.join(300)
    [migration] = made
    assert migration.acted and history.version() == "0002"
    assert [ran.argv for ran in migration.commands if "upgrade" in ran.argv] == [("alembic", "upgrade", "0002")]
    assert any("(the shop, idle in transaction, since " in blocker for blocker in migration.blocked_by)


def test_a_lock_that_is_never_to_be_had(make: Make) -> None:
    """The last try has a limit, too; who is in the way is named, and the database stands where it stood."""
    history, rehearsal = make(COLUMN, lock_timeout_s=0.1, tries=2)
    schema = history.live.schema()
    with busy(history), pytest.raises(SlipwayError) as failed:
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert "It got no lock in 2 tries, blocked by pid " in failed.value.failed
    assert "The database still stands at 0001." in failed.value.failed
    assert failed.value.expected == "Nobody who keeps a lock for long; end that session, or ship at a quieter hour."
    assert failed.value.retry_is_safe
    assert history.live.schema() == schema


def test_a_cancel_between_two_tries(make: Make) -> None:
    """Nothing has been changed yet, so it is heard at once."""
    history, rehearsal = make(COLUMN, lock_timeout_s=0.1, tries=100)
    asked = 0

    class Cancelled(Exception):
        pass

    def check() -> None:
        nonlocal asked
        asked += 1
        raise Cancelled

    with busy(history), cancellation.interruptible(check), pytest.raises(Cancelled):
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert asked == 1
    assert history.version() == "0001"


def test_one_mover_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Slipway over the same database waits, and says so when it takes too long."""
    history, rehearsal = make(COLUMN)
    monkeypatch.setattr("slipway.databases.postgresql.migration_lock.LOCK_WITHIN_S", 0.2)
    with only_mover(history.live), pytest.raises(Unavailable, match="Somebody else migrates"):
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert history.version() == "0001"


def test_a_concurrent_build_that_was_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its invalid index is dropped by the next attempt, which then makes the move; and the way back is whole."""
    history, rehearsal = make(CONCURRENT, lock_timeout_s=60)
    history.bin_folder = BIN  # Alembic itself, not in a fork: it is killed
    assert rehearsal.reversibility == "lossless"
    plan, schema = history.plan("0001", "0002"), history.live.schema()

    def fail_to_migrate() -> None:
        with pytest.raises(SlipwayError):
            migrate(plan, history.folder, rehearsal)

    with monkeypatch.context() as patch, busy(history, "INSERT INTO a VALUES (1000, 'a build waits for writers')"):
        patch.setattr(
            "slipway.databases.postgresql.migration_lock.DROP_LOCK_TIMEOUT", "100ms"
        )  # the drop waits for them, too
        thread = threading.Thread(target=fail_to_migrate)
        thread.start()
        wait_for(lambda: waiting(history), "the build to wait for the transaction")
        for process in commands():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        thread.join(300)
        assert not thread.is_alive()
    moved = migrate(plan, history.folder, rehearsal)
    assert moved is not None and moved.acted
    assert moved.mended == ("public.a_note",)
    assert history.run("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_note'::regclass") == [(True,)]
    roll_back(plan, history.folder, rehearsal)
    assert history.live.schema() == schema


def test_a_concurrent_build_that_fails(make: Make) -> None:
    """A unique index over rows that are not unique any more leaves nothing behind, and the database is whole."""
    history, rehearsal = make(UNIQUE)
    schema = history.live.schema()
    history.run("INSERT INTO a VALUES (1000, 'note 1')")
    with pytest.raises(SlipwayError, match=r"could not create unique index|UniqueViolation") as failed:
        migrate(history.plan("0001", "0002"), history.folder, rehearsal)
    assert failed.value.retry_is_safe
    assert history.live.schema() == schema


def test_a_migration_that_committed_half(make: Make) -> None:
    """A schema between two revisions is told as what it is, and neither way is guessed from there."""
    history, rehearsal = make(HALF)
    history.run("INSERT INTO a VALUES (1000, 'note 1')")
    plan = history.plan("0001", "0002")
    for move in (migrate, migrate, roll_back):
        with pytest.raises(SlipwayError) as failed:
            move(plan, history.folder, rehearsal)
        assert failed.value.failed.startswith(
            "The database says 0001, but its schema is not the one that was rehearsed to be there: it stands between two "
            "revisions, or somebody else has changed it."
        )
        assert not failed.value.retry_is_safe
    assert history.run("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []
