"""Attempts at a run, on a real store: fencing, the lock around effects, resumes claimed once, cancels remembered."""

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
    """The attempts in it."""
    return Attempts(store)


def test_a_later_attempt_fences_the_earlier(attempts: Attempts) -> None:
    """Once a second attempt has begun the first may not act, and the second may."""
    first = attempts.begin("run")
    with attempts.effect(first, "shop"):
        pass
    second = attempts.begin("run")
    assert (first.number, second.number) == (1, 2)
    with pytest.raises(Fenced), attempts.effect(first, "shop"):
        pytest.fail("a fenced attempt acted")
    with attempts.effect(second, "shop"):
        pass


def test_attempts_of_other_runs_fence_nobody(attempts: Attempts) -> None:
    """Each run has its own attempts."""
    mine = attempts.begin("mine")
    attempts.begin("other")
    with attempts.effect(mine, "shop"):
        pass


def test_an_effect_under_way_is_waited_for(attempts: Attempts, store: Store) -> None:
    """A later attempt acts only after the effect of the earlier one has ended."""
    order: list[str] = []
    first = attempts.begin("run")
    began, may_end = threading.Event(), threading.Event()

    def act_slowly() -> None:
        with attempts.effect(first, "shop"):
            began.set()
            may_end.wait(120)
            order.append("first")

    thread = threading.Thread(target=act_slowly)
    thread.start()
    assert began.wait(120)
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
    """Whether a session of the store waits for an advisory lock."""
    query = (
        "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()"
    )
    return bool(store.ask(query, {}))


def _act(attempts: Attempts, attempt: object, order: list[str]) -> None:
    with attempts.effect(attempt, "shop"):
        order.append("second")


def test_a_lock_that_is_not_got_says_so(store: Store) -> None:
    """Who waits too long for an effect is told, and may ask again."""
    with store.locked("effect on shop", 60):
        with pytest.raises(Unavailable) as refused, store.locked("effect on shop", 0.2):
            pytest.fail("the lock was given twice")
        assert (
            refused.value.failed
            == "The lock 'effect on shop' of Slipway's own database was not to be had: OperationalError."
        )
    with store.locked("effect on shop", 60):
        pass


def test_an_error_inside_an_effect_gives_the_lock_up(attempts: Attempts, store: Store) -> None:
    """What goes wrong inside comes out as it is, and the lock is free again."""
    attempt = attempts.begin("run")
    with pytest.raises(ZeroDivisionError), attempts.effect(attempt, "shop"):
        raise ZeroDivisionError
    with store.locked("effect on shop", 60):
        pass


def test_a_crash_is_worth_one_resume(attempts: Attempts) -> None:
    """Of several workers that see the same crash one resumes the run; the next crash counts on."""
    attempts.begin("run")
    assert attempts.claim_resume("run", "crash 1") == 1
    assert attempts.claim_resume("run", "crash 1") is None
    assert attempts.claim_resume("run", "crash 2") == 2
    assert attempts.begin("run").resumes == 2


def test_a_crash_before_the_first_attempt_is_resumed_too(attempts: Attempts) -> None:
    """A run that died before it could begin is claimed like any other."""
    assert attempts.claim_resume("run", "crash 1") == 1
    assert attempts.begin("run").number == 1


def test_a_cancel_outlives_a_crash(attempts: Attempts) -> None:
    """Who wanted it is remembered for every later attempt; the first one stands."""
    first = attempts.begin("run")
    assert attempts.control_requests(first).cancelled_by == ""
    attempts.request_cancel("run", "Ada: wrong day")
    attempts.request_cancel("run", "Bob: me too")
    assert attempts.control_requests(first).cancelled_by == "Ada: wrong day"
    assert attempts.begin("run").cancelled_by == "Ada: wrong day"
    with pytest.raises(Fenced):
        attempts.control_requests(first)


def test_a_cancel_in_prefect_is_remembered_for_runs_that_have_begun(attempts: Attempts) -> None:
    """Prefect's list may name runs that are not ours, or that somebody cancelled before: nothing is noted for them."""
    mine, asked = attempts.begin("mine"), attempts.begin("asked")
    attempts.request_cancel("asked", "Ada: wrong day")
    attempts.mark_cancelled(["mine", "asked", "a stranger's"], "somebody in Prefect")
    assert attempts.control_requests(mine).cancelled_by == "somebody in Prefect"
    assert attempts.control_requests(asked).cancelled_by == "Ada: wrong day"
    assert attempts.begin("a stranger's").cancelled_by == ""


def test_a_pause_is_told_until_it_ends(attempts: Attempts) -> None:
    """The first who wants it stands."""
    run = attempts.begin("run")
    assert attempts.control_requests(run).paused_by == ""
    attempts.request_pause("run", "Ada")
    attempts.request_pause("run", "Bob")
    assert attempts.control_requests(run).paused_by == "Ada"
    assert attempts.end_pause("run")
    assert attempts.control_requests(run).paused_by == ""


def test_of_all_runs_one_asks_prefect(attempts: Attempts, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty runs that look in the same period one asks; the next one asks in the next period or after a clock change."""
    monkeypatch.setattr("slipway.runs.attempts.ASK_EVERY_S", 3_600)  # all looks of this test fall into one period
    runs = [attempts.begin(f"run {number}") for number in range(20)]
    _last_look(store, "now() - interval '2 hours'")
    with ThreadPoolExecutor(8) as pool:
        assert sum(wanted.to_ask for wanted in pool.map(attempts.control_requests, runs)) == 1
    assert not attempts.control_requests(runs[0]).to_ask
    _last_look(store, "now() + interval '1 hour'")
    assert attempts.control_requests(runs[1]).to_ask
    assert not attempts.control_requests(runs[1]).to_ask


def _last_look(store: Store, at: str) -> None:
    with store.transaction() as connection:
        connection.execute(text(f"update look set at = {at}"))
