"""Tests that a step's outcome is saved in the store, even after failures of the step or the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slipway.core.errors import Unavailable
from slipway.runs.store import Store
from slipway.shipping.outcomes import Failure
from slipway.tasks.engine import saving

UNAVAILABLE = Unavailable("The store does not answer.", expected="The store answers.")


@pytest.fixture
def store(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return the store of a run."""
    created = Store(database)
    created.create_tables()
    monkeypatch.setattr(saving, "own_store", lambda: created)
    monkeypatch.setattr(saving, "run_id", lambda: "run")
    monkeypatch.setattr(saving, "RETRY_EVERY_S", 0.0)
    yield created
    created.close()


def saved(store: Store) -> list[tuple[str, str, object]]:
    """Return the run's outcomes in the store."""
    return [(outcome.step, outcome.kind, outcome.body) for outcome in store.outcomes_of("run")]


FAILURE = Failure(words="It broke.", for_a_person=False)
ROW = ("decide", "Failure", FAILURE.model_dump(mode="json"))


def test_the_outcome_of_a_step_is_saved(store: Store) -> None:
    """The outcome is in the store when the step ends, with the name of its type."""
    saving.start_saving("decide", FAILURE)
    saving.wait_saved("decide", FAILURE)
    assert saved(store) == [ROW]


def test_a_store_that_is_unavailable_at_the_start(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is saved when the step ends."""
    with monkeypatch.context() as outage:

        def fail(*_: object) -> None:
            raise UNAVAILABLE

        outage.setattr(store, "saving", fail)
        saving.start_saving("decide", FAILURE)
    saving.wait_saved("decide", FAILURE)
    assert saved(store) == [ROW]


def test_saving_is_retried_until_the_store_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store fails while it saves, the outcome is sent again, once per second."""
    attempts = []

    @contextmanager
    def fail_at_the_end(*_: object) -> Iterator[None]:
        yield
        raise UNAVAILABLE

    def fail_twice(*row: object) -> None:
        attempts.append(row)
        if len(attempts) < 3:
            raise UNAVAILABLE
        Store.save(store, *row)  # type: ignore[arg-type]

    with monkeypatch.context() as outage:
        outage.setattr(store, "saving", fail_at_the_end)
        saving.start_saving("decide", FAILURE)
    monkeypatch.setattr(saving, "get_run_logger", _SilentLogger)
    with monkeypatch.context() as outage:
        outage.setattr(store, "save", fail_twice)
        saving.wait_saved("decide", FAILURE)
    assert len(attempts) == 3
    assert saved(store) == [ROW]


def test_a_store_that_stays_unavailable_fails_the_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt the step raises Unavailable, so the run does not continue without the outcome."""
    attempts = []

    def fail(*_: object) -> None:
        attempts.append(1)
        raise UNAVAILABLE

    monkeypatch.setattr(saving, "get_run_logger", _SilentLogger)
    monkeypatch.setattr(store, "outcome_of", fail)
    with pytest.raises(Unavailable):
        saving.wait_saved("decide", FAILURE)
    assert len(attempts) == saving.ATTEMPTS


def test_prefects_result_is_saved_after_a_crash(store: Store) -> None:
    """If the process died before the store had the outcome, the outcome is saved from Prefect's result, only once."""
    saving.wait_saved("decide", FAILURE)
    assert saved(store) == [ROW]
    before = store.outcomes_of("run")
    saving.wait_saved("decide", FAILURE)
    assert store.outcomes_of("run") == before


class _SilentLogger:
    def warning(self, *_: object) -> None:
        """Log nothing, because the test has no run."""
