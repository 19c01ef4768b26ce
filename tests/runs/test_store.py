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
def away(postgres: URL) -> Iterator[Store]:
    """A store whose server does not answer."""
    made = Store(postgres.set(port=free_ports([0])[0]).render_as_string(hide_password=False))
    yield made
    made.close()


def test_tables_are_made_once(store: Store) -> None:
    """Making the tables again leaves what they hold."""
    store.acquire("shop", "run-1", "faster")
    store.create_tables()
    hold = store.hold_of("shop")
    assert hold is not None and (hold.service, hold.run_id, hold.change) == ("shop", "run-1", "faster")


def test_a_store_without_a_url() -> None:
    """Without a URL the variable that is missing is named."""
    with pytest.raises(InvalidInput) as refused:
        Store("")
    assert refused.value.failed == "Slipway's own database is not known."
    assert refused.value.expected == "SLIPWAY_DATABASE_URL set (`make up` sets it)."


def test_a_store_of_an_older_version(store: Store) -> None:
    """What lacks a table says so in words, and how to mend it; what is wrong in another way does not."""
    with store.transaction() as connection:
        connection.execute(text("DROP TABLE hold"))
    for act in (lambda: store.ask("SELECT * FROM hold", {}), lambda: store.hold_of("shop")):
        with pytest.raises(Unavailable, match="of an older version") as refused:
            act()
        assert "slipway access people" in refused.value.expected
    store.create_tables()
    assert store.hold_of("shop") is None
    with pytest.raises(psycopg.errors.UndefinedColumn):
        store.ask("SELECT nothing FROM hold", {})
    assert store.ask("SELECT 1 AS one, %(word)s AS word", {"word": "x"}) == [{"one": 1, "word": "x"}]


def test_one_run_holds_a_service(store: Store) -> None:
    """The first run gets the hold, repeats find it unchanged, and another run is told whose it is."""
    first = store.acquire("shop", "run-1", "faster")
    assert (first.run_id, first.change) == ("run-1", "faster")
    assert store.acquire("shop", "run-1", "faster") == first
    assert store.acquire("shop", "run-2", "prettier") == first
    assert store.hold_of("shop") == first
    assert store.hold_of("mail") is None


def test_services_are_held_apart(store: Store) -> None:
    """Two services can be held by two runs at once."""
    assert store.acquire("shop", "run-1", "faster").run_id == "run-1"
    assert store.acquire("mail", "run-2", "prettier").run_id == "run-2"


def test_only_the_holder_releases(store: Store) -> None:
    """Another run's release does nothing; the holder's frees the service; a repeat finds nothing to do."""
    store.acquire("shop", "run-1", "faster")
    assert store.release("shop", "run-2") is False
    assert store.acquire("shop", "run-2", "prettier").run_id == "run-1"
    assert store.release("shop", "run-1") is True
    assert store.release("shop", "run-1") is False
    assert store.acquire("shop", "run-2", "prettier").run_id == "run-2"


def test_of_many_at_once_one_wins(store: Store) -> None:
    """When runs ask in the same moment, one of them holds the service and all are told the same holder."""
    runs = [f"run-{number}" for number in range(8)]
    for service in (f"service-{round}" for round in range(10)):
        together = Barrier(len(runs))

        def ask(run: str, service: str = service, together: Barrier = together) -> str:
            together.wait()
            return store.acquire(service, run, "faster").run_id

        with ThreadPoolExecutor(len(runs)) as pool:
            holders = set(pool.map(ask, runs))
        assert len(holders) == 1 and holders <= set(runs)


def test_a_hold_that_is_given_up_meanwhile(store: Store) -> None:
    """Asking for a service while its holder lets go always has an answer: one's own hold or the other's."""

    def come_and_go(run: str) -> list[str]:
        holders = []
        for _ in range(150):
            holders.append(store.acquire("shop", run, "faster").run_id)
            store.release("shop", run)
        return holders

    with ThreadPoolExecutor(2) as pool:
        for holders in pool.map(come_and_go, ["run-1", "run-2"]):
            assert set(holders) <= {"run-1", "run-2"}


def test_what_a_step_left_behind_is_replaced_by_its_repeat(store: Store) -> None:
    """A repeated step leaves one outcome, its last."""
    store.keep("run-1", "plan", "Plan", {"n": 1, "text": "ä|'\"", "none": None})
    store.keep("run-1", "plan", "note", ["again"])
    assert [(left.step, left.kind, left.body) for left in store.outcomes_of("run-1")] == [("plan", "note", ["again"])]


def test_outcomes_come_in_their_order(store: Store) -> None:
    """What a run left behind comes oldest first, and no other run's among it."""
    for step in ("validate", "hold", "measure"):
        store.keep("run-1", step, "note", step)
    store.keep("run-2", "validate", "note", "other")
    assert [left.step for left in store.outcomes_of("run-1")] == ["validate", "hold", "measure"]
    store.keep("run-1", "validate", "note", "again")
    assert [left.step for left in store.outcomes_of("run-1")] == ["hold", "measure", "validate"]
    assert store.outcomes_of("run-3") == []


CALLS: dict[str, Callable[[Store], Any]] = {
    "ping": lambda store: store.ping(),
    "create_tables": lambda store: store.create_tables(),
    "acquire": lambda store: store.acquire("shop", "run-1", "faster"),
    "hold_of": lambda store: store.hold_of("shop"),
    "release": lambda store: store.release("shop", "run-1"),
    "keep": lambda store: store.keep("run-1", "plan", "note", "x"),
    "outcomes_of": lambda store: store.outcomes_of("run-1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_store_that_is_away(away: Store, call: Callable[[Store], Any]) -> None:
    """Whatever is asked of a store that does not answer is a clear error, safe to repeat, without the password."""
    with pytest.raises(Unavailable) as failed:
        call(away)
    assert str(failed.value) == (
        "Slipway's own database does not answer: OperationalError. Expected: A database that answers. A retry is safe."
    )


def test_a_wrong_password_is_not_shown(postgres: URL) -> None:
    """A store that refuses us says so without the password."""
    store = Store(postgres.set(password="hunter2-wrong").render_as_string(hide_password=False))
    with pytest.raises(Unavailable) as failed:
        store.ping()
    store.close()
    assert "hunter2-wrong" not in str(failed.value)
    assert failed.value.failed == "Slipway's own database does not answer: OperationalError."


def cut_connections(database: str) -> None:
    """Have the server end every connection to the database but this one."""
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        others = "pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'"
        ended = f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}"
        cut = connection.execute(ended).fetchall()
    assert cut == [(True,)]


def test_a_store_that_cut_its_connections(store: Store, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections that the server has ended are replaced without an error."""
    monkeypatch.setattr("slipway.runs.store.IDLE_S", 0.0)
    store.ping()
    cut_connections(database)
    store.keep("run-1", "migrate", "note", "done")
    assert [outcome.body for outcome in store.outcomes_of("run-1")] == ["done"]


def test_a_busy_connection_that_was_cut(store: Store, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has just answered is not tried first: its loss is told once as safe to retry, and the retry works."""
    monkeypatch.setattr("slipway.runs.store.IDLE_S", 3_600.0)
    store.ping()
    cut_connections(database)
    with pytest.raises(Unavailable):
        store.keep("run-1", "migrate", "note", "done")
    store.keep("run-1", "migrate", "note", "done")
    assert len(store.outcomes_of("run-1")) == 1


def test_keeping_goes_on_beside_other_work(store: Store, database: str) -> None:
    """The server is at it while the block runs, on a connection of its own, and it is done behind the block."""
    with store.keeping("run-1", "judge", "note", "meanwhile"):
        store.keep("run-1", "decide", "note", "sooner or later")
    assert {outcome.step for outcome in store.outcomes_of("run-1")} == {"judge", "decide"}


def test_a_large_outcome(store: Store) -> None:
    """More than fits into a socket's buffers at once is sent whole."""
    body = {"samples": [f"{number} ä" for number in range(400_000)]}
    store.keep("run-1", "measure", "note", body)
    (kept,) = store.outcomes_of("run-1")
    assert kept.body == body


def test_an_outcome_that_the_database_refuses(store: Store) -> None:
    """A text that PostgreSQL's JSON cannot hold is an error of its own, and the store goes on."""
    with pytest.raises(psycopg.DataError, match="u0000"):
        store.keep("run-1", "judge", "note", "a\0b")
    store.keep("run-1", "judge", "note", "ab")
    assert [outcome.body for outcome in store.outcomes_of("run-1")] == ["ab"]


def test_a_connection_that_is_cut_while_an_outcome_is_under_way(store: Store, database: str) -> None:
    """Whether it was kept is not known then: it is told as safe to retry, and the retry leaves it there once."""
    with psycopg.connect(database.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE outcome")
        with pytest.raises(Unavailable), store.keeping("run-1", "judge", "note", "done"):
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
    store.keep("run-1", "judge", "note", "done")
    assert len(store.outcomes_of("run-1")) == 1
