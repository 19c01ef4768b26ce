"""A live database that is written to all the time, while a change is rehearsed, migrated and rolled back.

Nothing here is measured in seconds: what is held is which writes failed, which were lost, and that they went on.
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
    """A table of orders, and behind it a column and an index built concurrently."""
    monkeypatch.setenv(VARIABLE, database)
    made = History(tmp_path, database, [ORDERS, COLUMN, INDEX], forked_alembic)
    made.stand_at("0001")
    made.limits = {"lock_timeout_s": 1, "tries": 60}
    return made


def nothing_is_lost(history: History, writers: Writers) -> bool:
    """Whether every write succeeded and is in the table, by their number and by their sum."""
    found = history.run("SELECT count(*), coalesce(sum(total), 0) FROM orders")
    return (writers.errors, found) == ([], [(writers.rows, writers.total)])


def test_a_rehearsal_under_writes(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is that of one moment, the way back is judged by it alone, and no writer fails or loses a row."""
    copied = PostgreSQL.copied

    @contextmanager
    def copied_under_writes(live: PostgreSQL, label: str) -> Iterator[PostgreSQL]:
        with copied(live, label) as copy:
            wait_for(writers.each_writes_on(), "writes while the copy exists")
            yield copy

    monkeypatch.setattr(PostgreSQL, "copied", copied_under_writes)
    with Writers(history.live.connection_url()) as writers:
        wait_for(writers.each_writes_on(), "the first writes")
        rows = writers.rows
        rehearsal = rehearse(history.plan("0001", "0003"), history.folder)
    assert (rehearsal.reversibility, rehearsal.losses) == ("lossless", ())
    assert rows <= rehearsal.rows - 1 <= writers.rows  # and one row of the tool's own table
    assert nothing_is_lost(history, writers)
    assert history.version() == "0001"


def test_a_migration_and_its_roll_back_under_writes(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the tries for a lock every writer gets through, and neither way fails one or loses a row."""
    monkeypatch.setattr(
        "slipway.databases.postgresql.migration_lock.LOOK_EVERY_S", 0.01
    )  # so that each try sees its blocker
    made: list[Any] = []
    plan, folder = history.plan("0001", "0003"), history.folder
    ladder = threading.Thread(target=lambda: made.append(migrate(plan, folder)))
    url = history.live.connection_url().replace("+psycopg", "")
    with Writers(history.live.connection_url()) as writers:
        with psycopg.connect(url, application_name="a report") as report:
            report.execute("SELECT count(*) FROM orders")  # and stays in its transaction
            ladder.start()
            for number in (1, 2):
                wait_for(lambda told=f"try {number} got no lock": told in caplog.text, f"try {number} to give up")
                wait_for(writers.each_writes_on(), f"writes after try {number}")
                assert ladder.is_alive() and history.version() == "0001"
            report.rollback()
        ladder.join(300)
        wait_for(writers.each_writes_on(), "writes after the migration")
        assert history.version() == "0003"
        back = roll_back(plan, folder)
        wait_for(writers.each_writes_on(), "writes after the roll back")
    [migration] = made
    assert any("(a report, idle in transaction, since " in blocker for blocker in migration.blocked_by)
    assert back.sentence == "the database went from 0003 to 0001."
    assert nothing_is_lost(history, writers)
    assert history.run("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_a_migration_that_fails_under_writes(history: History) -> None:
    """What cannot be built over the rows that come in meanwhile leaves the database as it was, and no writer fails."""
    history.add("0004", "0001", ("AUTOCOMMIT CREATE UNIQUE INDEX CONCURRENTLY u ON orders ((total > 0))", ""))
    rehearsal = Rehearsal(reversibility="lossless", schema_at_start=digest(history.live.schema()))
    with Writers(history.live.connection_url()) as writers:
        wait_for(writers.each_writes_on(), "the first writes")
        with pytest.raises(SlipwayError, match="could not create unique index") as failed:
            migrate(history.plan("0001", "0004"), history.folder, rehearsal)
        wait_for(writers.each_writes_on(), "writes after the failure")
    assert "The database still stands at 0001." in str(failed.value)
    assert nothing_is_lost(history, writers)
    assert history.run("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
