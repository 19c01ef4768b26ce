"""Attempts at a run, on a real store: fencing, the lock around effects, one resume per crash, stored cancel requests."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from slipway.core.errors import Unavailable
from slipway.runs.attempts import Attempts, Fenced
from slipway.runs.store import Store
from tests.stack.runs import wait_for


@pytest.fixture
def attempts(store: Store) -> Attempts:
    """The attempts in the store."""
    return Attempts(store)


def test_later_attempt_fences_the_earlier_one(attempts: Attempts) -> None:
    """Once a second attempt has started, only the second may act."""
    first = attempts.begin("run")
    with attempts.effect(first, "shop"):
        pass
    second = attempts.begin("run")
    assert (first.number, second.number) == (1, 2)
    with pytest.raises(Fenced), attempts.effect(first, "shop"):
        pytest.fail("a fenced attempt acted")
    with attempts.effect(second, "shop"):
        pass


def test_attempt_does_not_fence_other_runs(attempts: Attempts) -> None:
    """An attempt fences only attempts of its own run."""
    mine = attempts.begin("mine")
    attempts.begin("other")
    with attempts.effect(mine, "shop"):
        pass


def test_later_attempt_waits_for_the_effect_of_the_earlier_one(attempts: Attempts, store: Store) -> None:
    """A later attempt acts only after the effect of the earlier one has ended."""
    order: list[str] = []
    first = attempts.begin("run")
    started, may_end = threading.Event(), threading.Event()

    def act_slowly() -> None:
        with attempts.effect(first, "shop"):
            started.set()
            may_end.wait(120)
            order.append("first")

    thread = threading.Thread(target=act_slowly)
    thread.start()
    assert started.wait(120)
    second = attempts.begin("run")
    later = threading.Thread(target=lambda: _act(attempts, second, order))
    later.start()
    try:
        wait_for(lambda: _waits_for_a_lock(store) or order, "the later attempt to wait for the lock")
        assert order == []
    finally:
        may_end.set()
        thread.join(120)
        later.join(120)
    assert order == ["first", "second"]


def _waits_for_a_lock(store: Store) -> bool:
    """Return whether a session of the store waits for an advisory lock."""
    query = (
        "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()"
    )
    return bool(store.fetch(query, {}))


def _act(attempts: Attempts, attempt: object, order: list[str]) -> None:
    with attempts.effect(attempt, "shop"):
        order.append("second")


def test_lock_timeout_is_an_error_that_allows_a_retry(store: Store) -> None:
    """A caller that waits too long for the lock gets Unavailable, and can acquire the lock later."""
    with store.locked("effect on shop", 60):
        with pytest.raises(Unavailable) as refused, store.locked("effect on shop", 0.2):
            pytest.fail("the lock was given twice")
        assert (
            refused.value.failed
            == "Could not acquire the lock 'effect on shop' of Slipway's own database: OperationalError."
        )
    with store.locked("effect on shop", 60):
        pass


def test_error_inside_an_effect_releases_the_lock(attempts: Attempts, store: Store) -> None:
    """The error is raised unchanged, and the lock is free again."""
    attempt = attempts.begin("run")
    with pytest.raises(ZeroDivisionError), attempts.effect(attempt, "shop"):
        raise ZeroDivisionError
    with store.locked("effect on shop", 60):
        pass


def test_each_crash_allows_one_resume(attempts: Attempts) -> None:
    """Of several workers that see the same crash, one resumes the run. The next crash increases the count."""
    attempts.begin("run")
    assert attempts.claim_resume("run", "crash 1") == 1
    assert attempts.claim_resume("run", "crash 1") is None
    assert attempts.claim_resume("run", "crash 2") == 2
    assert attempts.begin("run").resumes == 2


def test_crash_before_the_first_attempt_can_be_resumed(attempts: Attempts) -> None:
    """A run that crashed before its first attempt is resumed like any other."""
    assert attempts.claim_resume("run", "crash 1") == 1
    assert attempts.begin("run").number == 1


def test_cancel_request_survives_a_crash(attempts: Attempts) -> None:
    """Every later attempt sees the cancel request. The first request wins."""
    first = attempts.begin("run")
    assert attempts.control_requests(first).cancelled_by == ""
    attempts.request_cancel("run", "Ada: wrong day")
    attempts.request_cancel("run", "Bob: me too")
    assert attempts.control_requests(first).cancelled_by == "Ada: wrong day"
    assert attempts.begin("run").cancelled_by == "Ada: wrong day"
    with pytest.raises(Fenced):
        attempts.control_requests(first)


def test_cancel_in_prefect_is_stored_for_started_runs(attempts: Attempts) -> None:
    """Prefect's list may contain runs that are not ours, or that were cancelled before: these are not changed."""
    mine, asked = attempts.begin("mine"), attempts.begin("asked")
    attempts.request_cancel("asked", "Ada: wrong day")
    attempts.mark_cancelled(["mine", "asked", "a stranger's"], "a Prefect user")
    assert attempts.control_requests(mine).cancelled_by == "a Prefect user"
    assert attempts.control_requests(asked).cancelled_by == "Ada: wrong day"
    assert attempts.begin("a stranger's").cancelled_by == ""


def test_pause_request_is_reported_until_it_ends(attempts: Attempts) -> None:
    """The first pause request wins, and lasts until the pause ends."""
    run = attempts.begin("run")
    assert attempts.control_requests(run).paused_by == ""
    attempts.request_pause("run", "Ada")
    attempts.request_pause("run", "Bob")
    assert attempts.control_requests(run).paused_by == "Ada"
    assert attempts.end_pause("run")
    assert attempts.control_requests(run).paused_by == ""


def test_one_of_all_runs_asks_prefect(attempts: Attempts, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty runs in the same period, one asks Prefect. The next asks in the next period, or after a clock change."""
    monkeypatch.setattr("slipway.runs.attempts.ASK_EVERY_S", 3_600)  # all polls of this test are in one period
    runs = [attempts.begin(f"run {number}") for number in range(20)]
    _set_last_poll(store, "now() - interval '2 hours'")
    with ThreadPoolExecutor(8) as pool:
        assert sum(requests.to_ask for requests in pool.map(attempts.control_requests, runs)) == 1
    assert not attempts.control_requests(runs[0]).to_ask
    _set_last_poll(store, "now() + interval '1 hour'")
    assert attempts.control_requests(runs[1]).to_ask
    assert not attempts.control_requests(runs[1]).to_ask


def _set_last_poll(store: Store, at: str) -> None:
    with store.transaction() as connection:
        connection.execute(text(f"update look set at = {at}"))
