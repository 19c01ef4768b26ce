"""A backfill in several processes, with lost connections, and with a role that has few rights."""

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

# Long time-outs, because the processes of these tests wait for each other's locks. No rests between batches.
LONG_TIMEOUTS = "[batch]\nload = 1\nlock_timeout_s = 60\nstatement_timeout_s = 300\n"
TEN_ROWS = LONG_TIMEOUTS + "start = 10\nsmallest = 10\nlargest = 10\n"


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    """Create a thousand accounts with a balance of 0 and the keys 3, 6, 9, …"""
    created = World(tmp_path, database)
    yield created
    created.close()


def ledger(world: World) -> Ledger:
    """Return the ledger of one process, without the fence that prevents a second process."""
    plan = validate("more", world.settings)
    return Ledger(PostgreSQL(world.url), "more", plan.backfill, ExpressionSource(plan.backfill))


def run_together(*functions: Any) -> None:
    """Call these functions at the same time, each in its own thread. Raise the first error."""
    start, errors = threading.Barrier(len(functions)), list[BaseException]()

    def run(function: Any) -> None:
        start.wait(120)
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_concurrent_processes_never_run_the_same_batch(world: World) -> None:
    """Without the fence, concurrent processes share the batches, and each row is changed once."""
    world.write(ADD_ONE + TEN_ROWS)
    batches: dict[int, int] = {}

    def run_process(number: int) -> None:
        with ledger(world) as own_ledger:
            digest = validate("more", world.settings).digest
            state = own_ledger.begin(digest)
            batches[number] = 0
            while state.finished_at is None:
                try:
                    state, _ = own_ledger.advance(state, 10)
                    batches[number] += 1
                except Unavailable:  # another process has moved the cursor, and this batch was rolled back
                    state = own_ledger.begin(digest)

    run_together(*(lambda number=number: run_process(number) for number in range(3)))
    assert world.balances() == (1_000, 1, 1)
    assert sum(batches.values()) == 101  # a hundred batches, and the last one, which finds no row
    assert world.run("SELECT rows_passed, rows_changed, rows_skipped FROM slipway_backfill") == [(1_000, 1_000, 0)]


def test_a_skipped_row_is_changed_once(world: World) -> None:
    """If two processes retry a skipped row, it is changed once."""
    world.run("UPDATE accounts SET balance = 499 WHERE id = 1500")
    world.backfill(ADD_ONE + "max_bad_rows = 1\n" + LONG_TIMEOUTS)
    world.run("UPDATE accounts SET balance = 0 WHERE id = 1500")
    with ledger(world) as first, ledger(world) as second:
        run_together(lambda: first.retry_skipped(1_500), lambda: second.retry_skipped(1_500))
        first.retry_skipped(1_500)
    assert world.balances() == (1_000, 1, 1)
    assert world.run("SELECT rows_changed, rows_skipped FROM slipway_backfill") == [(1_000, 0)]
    assert world.run("SELECT position FROM slipway_backfill_skipped") == []


def test_a_skipped_row_that_is_still_bad_stays_skipped(world: World) -> None:
    """If the database rejects a skipped row again, the row stays skipped."""
    world.run("UPDATE accounts SET balance = 499 WHERE id = 1500")
    world.backfill(ADD_ONE + "max_bad_rows = 1\n")
    for _ in range(2):
        assert [row.row for row in world.backfill().skipped] == [1_500]
    assert world.run("SELECT rows_changed, rows_skipped FROM slipway_backfill") == [(999, 1)]


def test_backfill_survives_lost_connections(world: World) -> None:
    """A lost connection raises `Unavailable`, so that the step is retried. Each row is changed once."""
    world.write(ADD_ONE + TEN_ROWS)
    failures: list[str] = []

    def end_sessions(progress: BackfillProgress) -> None:
        if progress.rows_passed < 1_000 and len(failures) < 5:
            own_sessions = "datname = current_database() AND application_name = 'slipway backfill more'"
            world.run(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {own_sessions}")

    while True:
        try:
            world.backfill(report=end_sessions)
            break
        except Unavailable as error:
            failures.append(error.failed)
    assert len(failures) == 5
    assert all(failure.startswith("The database of backfill more: ") for failure in failures)
    assert world.balances() == (1_000, 1, 1)


@pytest.fixture
def clerk(world: World) -> Iterator[str]:
    """Create a role that can only read and update the rows, and return its URL."""
    url = PostgreSQL(world.url).url
    role = f"clerk_{url.database}"
    world.run(f"CREATE ROLE {role} LOGIN PASSWORD 'clerk'")
    world.run(f"GRANT SELECT, UPDATE ON accounts TO {role}")
    yield url.set(username=role, password="clerk").render_as_string(hide_password=False)
    world.run(f"DROP OWNED BY {role}")
    world.run(f"DROP ROLE {role}")


def test_role_without_create_right_needs_existing_tables(
    world: World, clerk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to create tables, the backfill fails. After another role has created the tables, it succeeds."""
    monkeypatch.setenv("TEST_BACKFILL_DATABASE_URL", clerk)
    world.write(ADD_ONE)
    with pytest.raises(InvalidInput) as refused:
        world.backfill()
    assert refused.value.failed == "The database rejects backfill more: permission denied for schema public."
    for statement in TABLES:
        world.run(statement)
    role = PostgreSQL(clerk).url.username
    world.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON slipway_backfill, slipway_backfill_skipped TO {role}")
    assert world.backfill().rows_changed == 1_000
    assert world.balances() == (1_000, 1, 1)
