"""Slipway's own store on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, text

from slipway.core.errors import InvalidInput, Unavailable
from slipway.deployments.ports import free_ports
from slipway.runs.store import Store


@pytest.fixture
def unreachable(postgres: URL) -> Iterator[Store]:
    """A store whose server does not answer."""
    store = Store(postgres.set(port=free_ports([0])[0]).render_as_string(hide_password=False))
    yield store
    store.close()


def test_create_tables_keeps_existing_rows(store: Store) -> None:
    """Creating the tables again keeps their rows."""
    store.acquire("shop", "run-1", "faster")
    store.create_tables()
    hold = store.hold_of("shop")
    assert hold is not None and (hold.service, hold.run_id, hold.change) == ("shop", "run-1", "faster")


def test_store_without_a_url_names_the_variable() -> None:
    """The error for a missing URL names the environment variable."""
    with pytest.raises(InvalidInput) as refused:
        Store("")
    assert refused.value.failed == "The URL of Slipway's own database is not set."
    assert refused.value.expected == "SLIPWAY_DATABASE_URL is set (`make up` sets it)."


def test_missing_table_names_the_fix(store: Store) -> None:
    """The error for a missing table names the command that creates it. Other errors are raised unchanged."""
    with store.transaction() as connection:
        connection.execute(text("DROP TABLE hold"))
    for call in (lambda: store.fetch("SELECT * FROM hold", {}), lambda: store.hold_of("shop")):
        with pytest.raises(Unavailable, match="has an older version") as refused:
            call()
        assert "slipway access people" in refused.value.expected
    store.create_tables()
    assert store.hold_of("shop") is None
    with pytest.raises(psycopg.errors.UndefinedColumn):
        store.fetch("SELECT nothing FROM hold", {})
    assert store.fetch("SELECT 1 AS one, %(word)s AS word", {"word": "x"}) == [{"one": 1, "word": "x"}]


def test_only_one_run_gets_the_service_lock(store: Store) -> None:
    """The first run acquires the lock, a repeat returns the same lock, and another run gets the lock of the first."""
    first = store.acquire("shop", "run-1", "faster")
    assert (first.run_id, first.change) == ("run-1", "faster")
    assert store.acquire("shop", "run-1", "faster") == first
    assert store.acquire("shop", "run-2", "prettier") == first
    assert store.hold_of("shop") == first
    assert store.hold_of("mail") is None


def test_each_service_has_its_own_lock(store: Store) -> None:
    """Two runs can hold two services at the same time."""
    assert store.acquire("shop", "run-1", "faster").run_id == "run-1"
    assert store.acquire("mail", "run-2", "prettier").run_id == "run-2"


def test_only_the_holder_can_release(store: Store) -> None:
    """A release by another run does nothing, a release by the holder frees the service, and a repeat does nothing."""
    store.acquire("shop", "run-1", "faster")
    assert store.release("shop", "run-2") is False
    assert store.acquire("shop", "run-2", "prettier").run_id == "run-1"
    assert store.release("shop", "run-1") is True
    assert store.release("shop", "run-1") is False
    assert store.acquire("shop", "run-2", "prettier").run_id == "run-2"


def test_concurrent_runs_get_the_same_holder(store: Store) -> None:
    """If runs acquire the lock at the same moment, one of them holds it and all get the same holder."""
    runs = [f"run-{number}" for number in range(8)]
    for service in (f"service-{round}" for round in range(10)):
        barrier = Barrier(len(runs))

        def acquire(run: str, service: str = service, barrier: Barrier = barrier) -> str:
            barrier.wait()
            return store.acquire(service, run, "faster").run_id

        with ThreadPoolExecutor(len(runs)) as pool:
            holders = set(pool.map(acquire, runs))
        assert len(holders) == 1 and holders <= set(runs)


def test_acquire_during_a_release_returns_a_holder(store: Store) -> None:
    """Acquiring a service while its holder releases it always returns a lock: the caller's or the other's."""

    def acquire_and_release(run: str) -> list[str]:
        holders = []
        for _ in range(150):
            holders.append(store.acquire("shop", run, "faster").run_id)
            store.release("shop", run)
        return holders

    with ThreadPoolExecutor(2) as pool:
        for holders in pool.map(acquire_and_release, ["run-1", "run-2"]):
            assert set(holders) <= {"run-1", "run-2"}


def test_repeated_step_replaces_its_outcome(store: Store) -> None:
    """A repeated step has one outcome, the last."""
    store.save("run-1", "plan", "Plan", {"n": 1, "text": "ä|'\"", "none": None})
    store.save("run-1", "plan", "note", ["again"])
    outcomes = store.outcomes_of("run-1")
    assert [(outcome.step, outcome.kind, outcome.body) for outcome in outcomes] == [("plan", "note", ["again"])]


def test_outcomes_are_in_order(store: Store) -> None:
    """The outcomes of a run are in order, the oldest first, without those of other runs."""
    for step in ("validate", "hold", "measure"):
        store.save("run-1", step, "note", step)
    store.save("run-2", "validate", "note", "other")
    assert [outcome.step for outcome in store.outcomes_of("run-1")] == ["validate", "hold", "measure"]
    store.save("run-1", "validate", "note", "again")
    assert [outcome.step for outcome in store.outcomes_of("run-1")] == ["hold", "measure", "validate"]
    assert store.outcomes_of("run-3") == []


CALLS: dict[str, Callable[[Store], Any]] = {
    "ping": lambda store: store.ping(),
    "create_tables": lambda store: store.create_tables(),
    "acquire": lambda store: store.acquire("shop", "run-1", "faster"),
    "hold_of": lambda store: store.hold_of("shop"),
    "release": lambda store: store.release("shop", "run-1"),
    "save": lambda store: store.save("run-1", "plan", "note", "x"),
    "outcomes_of": lambda store: store.outcomes_of("run-1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_unreachable_store_is_unavailable(unreachable: Store, call: Callable[[Store], Any]) -> None:
    """Every call to a store that does not answer raises Unavailable, without the password."""
    with pytest.raises(Unavailable) as failed:
        call(unreachable)
    assert str(failed.value) == (
        "Slipway's own database does not answer: OperationalError. Expected: The database answers. A retry is safe."
    )


def test_wrong_password_is_not_shown(postgres: URL) -> None:
    """The error of a refused connection does not contain the password."""
    store = Store(postgres.set(password="hunter2-wrong").render_as_string(hide_password=False))
    with pytest.raises(Unavailable) as failed:
        store.ping()
    store.close()
    assert "hunter2-wrong" not in str(failed.value)
    assert failed.value.failed == "Slipway's own database does not answer: OperationalError."


def cut_connections(database: str) -> None:
    """Make the server end every connection to the database except this one."""
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        others = "pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'"
        query = f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}"
        cut = connection.execute(query).fetchall()
    assert cut == [(True,)]


def test_ended_idle_connections_are_replaced(store: Store, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections that the server has ended are replaced without an error."""
    monkeypatch.setattr("slipway.runs.store.IDLE_S", 0.0)
    store.ping()
    cut_connections(database)
    store.save("run-1", "migrate", "note", "done")
    assert [outcome.body for outcome in store.outcomes_of("run-1")] == ["done"]


def test_ended_busy_connection_raises_once(store: Store, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recently used connection is not tested first: its loss raises Unavailable once, and the retry works."""
    monkeypatch.setattr("slipway.runs.store.IDLE_S", 3_600.0)
    store.ping()
    cut_connections(database)
    with pytest.raises(Unavailable):
        store.save("run-1", "migrate", "note", "done")
    store.save("run-1", "migrate", "note", "done")
    assert len(store.outcomes_of("run-1")) == 1


def test_saving_runs_in_parallel_with_the_block(store: Store, database: str) -> None:
    """The server saves on a connection of its own while the block runs, and has saved after the block."""
    with store.saving("run-1", "judge", "note", "meanwhile"):
        store.save("run-1", "decide", "note", "sooner or later")
    assert {outcome.step for outcome in store.outcomes_of("run-1")} == {"judge", "decide"}


def test_large_outcome_is_saved_completely(store: Store) -> None:
    """An outcome that is larger than the socket's buffers is sent completely."""
    body = {"samples": [f"{number} ä" for number in range(400_000)]}
    store.save("run-1", "measure", "note", body)
    (saved,) = store.outcomes_of("run-1")
    assert saved.body == body


def test_outcome_that_the_database_refuses_raises(store: Store) -> None:
    """A text that PostgreSQL's JSON cannot store raises DataError, and the store still works."""
    with pytest.raises(psycopg.DataError, match="u0000"):
        store.save("run-1", "judge", "note", "a\0b")
    store.save("run-1", "judge", "note", "ab")
    assert [outcome.body for outcome in store.outcomes_of("run-1")] == ["ab"]


def test_connection_loss_while_saving_allows_a_retry(store: Store, database: str) -> None:
    """It is unknown whether the outcome was saved: the error allows a retry, and the retry saves it once."""
    with psycopg.connect(database.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE outcome")
        with pytest.raises(Unavailable), store.saving("run-1", "judge", "note", "done"):
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
    store.save("run-1", "judge", "note", "done")
    assert len(store.outcomes_of("run-1")) == 1
