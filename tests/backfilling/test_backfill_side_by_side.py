"""A backfill that two processes are at, that loses its connection, or whose role has few rights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.backfilling.backfill import validate
from slipway.backfilling.ledger import Ledger
from slipway.backfilling.outcomes import BackfillProgress
from slipway.backfilling.sources import ExpressionSource
from slipway.backfilling.statements import TABLES
from slipway.core.errors import InvalidInput, Unavailable
from slipway.databases.postgresql.database import PostgreSQL
from tests.backfilling.backfills import ADD_ONE, World

# Long time-outs: the processes of these tests wait for each other's locks. They take no rests.
PATIENT = "[batch]\nload = 1\nlock_timeout_s = 60\nstatement_timeout_s = 300\n"
TEN = PATIENT + "start = 10\nsmallest = 10\nlargest = 10\n"


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    """A thousand accounts with a balance of 0, keys three apart."""
    made = World(tmp_path, database)
    yield made
    made.close()


def ledger(world: World) -> Ledger:
    """What one process has of the backfill, without the fence that keeps a second process away."""
    plan = validate("more", world.settings)
    return Ledger(PostgreSQL(world.url), "more", plan.backfill, ExpressionSource(plan.backfill))


def together(*works: Any) -> None:
    """Do these at the same moment, each in a thread of its own; what one raises goes up."""
    start, failed = threading.Barrier(len(works)), list[BaseException]()

    def run(work: Any) -> None:
        start.wait(120)
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def test_two_processes_never_do_the_same_batch(world: World) -> None:
    """Processes that are at it side by side, which the fence prevents, share the batches; each row is changed once."""
    world.write(ADD_ONE + TEN)
    shares: dict[int, int] = {}

    def work(number: int) -> None:
        with ledger(world) as mine:
            digest = validate("more", world.settings).digest
            standing = mine.begin(digest)
            shares[number] = 0
            while standing.finished_at is None:
                try:
                    standing, _ = mine.advance(standing, 10)
                    shares[number] += 1
                except Unavailable:  # another process has moved the cursor, and nothing of this batch was done
                    standing = mine.begin(digest)

    together(*(lambda number=number: work(number) for number in range(3)))
    assert world.balances() == (1_000, 1, 1)
    assert sum(shares.values()) == 101  # a hundred batches, and the one that found no row left
    assert world.run("SELECT rows_passed, rows_changed, rows_skipped FROM slipway_backfill") == [(1_000, 1_000, 0)]


def test_a_skipped_row_is_mended_once(world: World) -> None:
    """Two processes that both try a skipped row again change it once."""
    world.run("UPDATE accounts SET balance = 499 WHERE id = 1500")
    world.backfill(ADD_ONE + "max_bad_rows = 1\n" + PATIENT)
    world.run("UPDATE accounts SET balance = 0 WHERE id = 1500")
    with ledger(world) as first, ledger(world) as second:
        together(lambda: first.retry_skipped(1_500), lambda: second.retry_skipped(1_500))
        first.retry_skipped(1_500)
    assert world.balances() == (1_000, 1, 1)
    assert world.run("SELECT rows_changed, rows_skipped FROM slipway_backfill") == [(1_000, 0)]
    assert world.run("SELECT position FROM slipway_backfill_skipped") == []


def test_a_skipped_row_that_is_still_bad_stays_skipped(world: World) -> None:
    """A row that the database refuses again keeps its place among the skipped ones, with the reason."""
    world.run("UPDATE accounts SET balance = 499 WHERE id = 1500")
    world.backfill(ADD_ONE + "max_bad_rows = 1\n")
    for _ in range(2):
        assert [row.row for row in world.backfill().skipped] == [1_500]
    assert world.run("SELECT rows_changed, rows_skipped FROM slipway_backfill") == [(999, 1)]


def test_a_connection_that_is_lost_again_and_again(world: World) -> None:
    """A database that ends our session is Unavailable, for which the step is tried again; each row is changed once."""
    world.write(ADD_ONE + TEN)
    told: list[str] = []

    def lose(progress: BackfillProgress) -> None:
        if progress.rows_passed < 1_000 and len(told) < 5:
            ours = "datname = current_database() AND application_name = 'slipway backfill more'"
            world.run(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {ours}")

    while True:
        try:
            world.backfill(tell=lose)
            break
        except Unavailable as error:
            told.append(error.failed)
    assert len(told) == 5
    assert all(words.startswith("The database of backfill more: ") for words in told)
    assert world.balances() == (1_000, 1, 1)


@pytest.fixture
def clerk(world: World) -> Iterator[str]:
    """The URL of a role that may change the rows and nothing else."""
    url = PostgreSQL(world.url).url
    role = f"clerk_{url.database}"
    world.run(f"CREATE ROLE {role} LOGIN PASSWORD 'clerk'")
    world.run(f"GRANT SELECT, UPDATE ON accounts TO {role}")
    yield url.set(username=role, password="clerk").render_as_string(hide_password=False)
    world.run(f"DROP OWNED BY {role}")
    world.run(f"DROP ROLE {role}")


def test_a_role_that_may_not_create_tables(world: World, clerk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so; with the two tables made by another role it does the whole backfill."""
    monkeypatch.setenv("TEST_BACKFILL_DATABASE_URL", clerk)
    world.write(ADD_ONE)
    with pytest.raises(InvalidInput) as refused:
        world.backfill()
    assert refused.value.failed == "The database refuses backfill more: permission denied for schema public."
    for statement in TABLES:
        world.run(statement)
    role = PostgreSQL(clerk).url.username
    world.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON slipway_backfill, slipway_backfill_skipped TO {role}")
    assert world.backfill().rows_changed == 1_000
    assert world.balances() == (1_000, 1, 1)
