"""A step's outcome reaches our store, however often it or the store fails meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slipway.core.errors import Unavailable
from slipway.runs.store import Store
from slipway.shipping.outcomes import Failure
from slipway.tasks.engine import saving

AWAY = Unavailable("It is away.", expected="It.")


@pytest.fixture
def store(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of a run."""
    made = Store(database)
    made.create_tables()
    monkeypatch.setattr(saving, "own_store", lambda: made)
    monkeypatch.setattr(saving, "run_id", lambda: "run")
    monkeypatch.setattr(saving, "EVERY_S", 0.0)
    yield made
    made.close()


def kept(store: Store) -> list[tuple[str, str, object]]:
    """What the store has of the run."""
    return [(outcome.step, outcome.kind, outcome.body) for outcome in store.outcomes_of("run")]


FAILURE = Failure(words="It broke.", for_a_person=False)
ROW = ("decide", "Failure", FAILURE.model_dump(mode="json"))


def test_what_a_step_left_behind_is_kept(store: Store) -> None:
    """Once the step is over, and under its type's name."""
    saving.start_saving("decide", FAILURE)
    saving.wait_saved("decide", FAILURE)
    assert kept(store) == [ROW]


def test_a_store_that_is_away_when_it_begins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again when the step is over."""
    with monkeypatch.context() as without:

        def away(*_: object) -> None:
            raise AWAY

        without.setattr(store, "keeping", away)
        saving.start_saving("decide", FAILURE)
    saving.wait_saved("decide", FAILURE)
    assert kept(store) == [ROW]


def test_a_store_that_goes_away_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again, each second, until it has it."""
    asked = []

    @contextmanager
    def goes_away(*_: object) -> Iterator[None]:
        yield
        raise AWAY

    def twice_away(*row: object) -> None:
        asked.append(row)
        if len(asked) < 3:
            raise AWAY
        Store.keep(store, *row)  # type: ignore[arg-type]

    with monkeypatch.context() as without:
        without.setattr(store, "keeping", goes_away)
        saving.start_saving("decide", FAILURE)
    monkeypatch.setattr(saving, "get_run_logger", _Deaf)
    with monkeypatch.context() as slow:
        slow.setattr(store, "keep", twice_away)
        saving.wait_saved("decide", FAILURE)
    assert len(asked) == 3
    assert kept(store) == [ROW]


def test_a_store_that_stays_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the end that is an error; nothing goes on as if it had been kept."""
    looks = []

    def away(*_: object) -> None:
        looks.append(1)
        raise AWAY

    monkeypatch.setattr(saving, "get_run_logger", _Deaf)
    monkeypatch.setattr(store, "outcome_of", away)
    with pytest.raises(Unavailable):
        saving.wait_saved("decide", FAILURE)
    assert len(looks) == saving.TRIES


def test_a_step_whose_process_died_before_the_store_had_it(store: Store) -> None:
    """Prefect has its result, so it is not run again: what it left behind is kept from that, once."""
    saving.wait_saved("decide", FAILURE)
    assert kept(store) == [ROW]
    before = store.outcomes_of("run")
    saving.wait_saved("decide", FAILURE)
    assert store.outcomes_of("run") == before


class _Deaf:
    def warning(self, *_: object) -> None:
        """Say nothing; there is no run here."""
