"""Rehearse, migrate and roll back a live database during constant writes.

These tests measure no times. They assert that no write failed or was lost, and that the writers continued.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from slipway.core.errors import SlipwayError
from slipway.databases.postgresql.database import PostgreSQL
from slipway.migrations.migrate import migrate
from slipway.migrations.outcomes import Rehearsal
from slipway.migrations.rehearse import digest, rehearse
from slipway.migrations.roll_back import roll_back
from tests.histories import VARIABLE, History, Move
from tests.stack.runs import wait_for
from tests.writers import Writers

ORDERS: Move = ("CREATE TABLE orders (id bigserial PRIMARY KEY, total int NOT NULL)", "DROP TABLE orders")
COLUMN: Move = ("ALTER TABLE orders ADD COLUMN note text", "ALTER TABLE orders DROP COLUMN note")
INDEX: Move = (
    "AUTOCOMMIT CREATE INDEX CONCURRENTLY by_total ON orders (total)",
    "AUTOCOMMIT DROP INDEX CONCURRENTLY by_total",
)


@pytest.fixture
def history(tmp_path: Path, database: str, forked_alembic: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return a history with a table of orders, then a column, then an index built concurrently."""
    monkeypatch.setenv(VARIABLE, database)
    migrations = History(tmp_path, database, [ORDERS, COLUMN, INDEX], forked_alembic)
    migrations.set_revision("0001")
    migrations.limits = {"lock_timeout_s": 1, "tries": 60}
    return migrations


def nothing_is_lost(history: History, writers: Writers) -> bool:
    """Return whether every write succeeded and is in the table, compared by count and sum."""
    rows = history.run("SELECT count(*), coalesce(sum(total), 0) FROM orders")
    return (writers.errors, rows) == ([], [(writers.rows, writers.total)])


def test_a_rehearsal_is_consistent_during_writes(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is a snapshot, the downgrade is compared only with it, and no writer fails or loses a row."""
    copied = PostgreSQL.copied

    @contextmanager
    def copied_under_writes(live: PostgreSQL, label: str) -> Iterator[PostgreSQL]:
        with copied(live, label) as copy:
            wait_for(writers.all_write_again(), "writes while the copy exists")
            yield copy

    monkeypatch.setattr(PostgreSQL, "copied", copied_under_writes)
    with Writers(history.live.connection_url()) as writers:
        wait_for(writers.all_write_again(), "the first writes")
        rows = writers.rows
        rehearsal = rehearse(history.plan("0001", "0003"), history.folder)
    assert (rehearsal.reversibility, rehearsal.losses) == ("lossless", ())
    assert rows <= rehearsal.rows - 1 <= writers.rows  # one row belongs to the version table
    assert nothing_is_lost(history, writers)
    assert history.version() == "0001"


def test_a_migration_and_its_rollback_lose_no_writes(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every writer succeeds between the attempts to get a lock, and no row is lost."""
    monkeypatch.setattr(
        "slipway.databases.postgresql.migration_lock.POLL_EVERY_S", 0.01
    )  # each attempt records its blocker
    migrations: list[Any] = []
    plan, folder = history.plan("0001", "0003"), history.folder
    thread = threading.Thread(target=lambda: migrations.append(migrate(plan, folder)))
    url = history.live.connection_url().replace("+psycopg", "")
    with Writers(history.live.connection_url()) as writers:
        with psycopg.connect(url, application_name="a report") as report:
            report.execute("SELECT count(*) FROM orders")  # the transaction stays open
            thread.start()
            for number in (1, 2):
                message = f"attempt {number} timed out on a lock"
                wait_for(lambda message=message: message in caplog.text, f"the timeout of attempt {number}")
                wait_for(writers.all_write_again(), f"writes after attempt {number}")
                assert thread.is_alive() and history.version() == "0001"
            report.rollback()
        thread.join(300)
        wait_for(writers.all_write_again(), "writes after the migration")
        assert history.version() == "0003"
        back = roll_back(plan, folder)
        wait_for(writers.all_write_again(), "writes after the rollback")
    [migration] = migrations
    assert any("(a report, idle in transaction, since " in blocker for blocker in migration.blocked_by)
    assert back.sentence == "the database moved from revision 0003 to 0001."
    assert nothing_is_lost(history, writers)
    assert history.run("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_a_failing_migration_during_writes_changes_nothing(history: History) -> None:
    """A unique index that fails because of new rows leaves the database unchanged, and no writer fails."""
    history.add("0004", "0001", ("AUTOCOMMIT CREATE UNIQUE INDEX CONCURRENTLY u ON orders ((total > 0))", ""))
    rehearsal = Rehearsal(reversibility="lossless", schema_at_start=digest(history.live.schema()))
    with Writers(history.live.connection_url()) as writers:
        wait_for(writers.all_write_again(), "the first writes")
        with pytest.raises(SlipwayError, match="could not create unique index") as failed:
            migrate(history.plan("0001", "0004"), history.folder, rehearsal)
        wait_for(writers.all_write_again(), "writes after the failure")
    assert "The database is still at revision 0001." in str(failed.value)
    assert nothing_is_lost(history, writers)
    assert history.run("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
