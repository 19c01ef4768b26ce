"""Attempts at a run. A new attempt fences all earlier attempts of the same run, in Slipway's own database.

A crashed run continues in another process, even if its first process only seemed dead. Two processes of one run must
never both act. So an attempt holds an advisory lock during an effect (migrate, purge, roll back, record), and first
checks under this lock that no later attempt has started. A process that dies releases the lock; a later attempt waits
for the lock.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import attempts, pauses, polls

MAX_RESUMES = 5  # after this many resumes the run only checks the state of the service, and ends
LOCK_WITHIN_S = 120.0
CANCELS = "for cancels in Prefect"
ASK_EVERY_S = 0.6  # of all runs together, one asks Prefect for cancelled runs at this interval
ANSWERED_FOR_S = 3_600  # a worker has this long to reject an unanswered approval, before Prefect fails the run


class Fenced(Exception):
    """A later attempt of the same run has started. This process must not change anything any more."""


class Attempt(FrozenModel):
    """One process's attempt at a run: `number` counts from 1, `resumes` is the number of resumes after a crash."""

    run_id: str
    number: int
    token: str
    resumes: int
    cancelled_by: str


class ControlRequests(FrozenModel):
    """Who requested to cancel or to pause a run ("" if no one did), and whether the run has to ask Prefect."""

    cancelled_by: str
    paused_by: str
    to_ask: bool


class Attempts:
    """The attempts of all runs, in Slipway's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, run_id: str) -> Attempt:
        """Start an attempt. This fences every earlier attempt of the run."""
        row = insert(attempts).values(run_id=run_id, number=1, token=secrets.token_hex(8))
        change = {"number": attempts.c.number + 1, "token": row.excluded.token, "at": func.now()}
        columns = (attempts.c.run_id, attempts.c.number, attempts.c.token, attempts.c.resumes, attempts.c.cancelled_by)
        upsert = row.on_conflict_do_update(index_elements=["run_id"], set_=change).returning(*columns)
        first_poll = insert(polls).values(what=CANCELS, at=func.now()).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(first_poll)
            return Attempt.model_validate(dict(connection.execute(upsert).mappings().one()))

    @contextmanager
    def effect(self, attempt: Attempt, service: str) -> Iterator[None]:
        """Allow the attempt to act on the service in this block. Raises Fenced, or Unavailable without the lock."""
        with self._store.locked(f"effect on {service}", LOCK_WITHIN_S) as connection:
            query = select(attempts.c.token).where(attempts.c.run_id == attempt.run_id)
            if connection.execute(query).scalar() != attempt.token:
                raise _fenced(attempt)
            yield

    def claim_resume(self, run_id: str, crash: str) -> int | None:
        """Claim the resume of a crash (the id of the crashed state). Return the number of resumes; None if already claimed."""
        row = insert(attempts).values(run_id=run_id, resumes=1, crash=crash)
        change = {"resumes": attempts.c.resumes + 1, "crash": row.excluded.crash}
        upsert = row.on_conflict_do_update(
            index_elements=["run_id"], set_=change, where=attempts.c.crash != row.excluded.crash
        ).returning(attempts.c.resumes)
        with self._store.transaction() as connection:
            resumes: int | None = connection.execute(upsert).scalar()
            return resumes

    def request_cancel(self, run_id: str, by: str) -> None:
        """Store a cancel request, so that it survives crashes. The first request wins."""
        row = insert(attempts).values(run_id=run_id, cancelled_by=by)
        upsert = row.on_conflict_do_update(
            index_elements=["run_id"], set_={"cancelled_by": by}, where=attempts.c.cancelled_by == ""
        )
        with self._store.transaction() as connection:
            connection.execute(upsert)

    def mark_cancelled(self, run_ids: Collection[str], by: str) -> None:
        """Store a cancel request for those of the runs that have started; the others are not ours, or not started yet."""
        change = update(attempts).where(attempts.c.run_id.in_(run_ids), attempts.c.cancelled_by == "")
        with self._store.statement() as connection:
            connection.execute(change.values(cancelled_by=by))

    def control_requests(self, attempt: Attempt) -> ControlRequests:
        """Return the requests for the attempt's run. Raises Fenced once a later attempt has started.

        Of all runs that call this, one every ASK_EVERY_S gets `to_ask` and asks Prefect on behalf of all. One request
        from every run would cost Prefect's server more than everything else that the runs do.
        """
        turn = (
            update(polls).where(polls.c.what == CANCELS, _due()).values(at=func.now()).returning(polls.c.at).cte("turn")
        )
        to_ask = select(turn.c.at).exists()
        columns = (attempts.c.token, attempts.c.cancelled_by, func.coalesce(pauses.c.by, ""), to_ask)
        both = attempts.outerjoin(pauses, pauses.c.run_id == attempts.c.run_id)
        query = select(*columns).select_from(both).where(attempts.c.run_id == attempt.run_id)
        with self._store.statement() as connection:
            token, cancelled_by, paused_by, has_turn = connection.execute(query).one()
        if token != attempt.token:
            raise _fenced(attempt)
        return ControlRequests(cancelled_by=cancelled_by, paused_by=paused_by, to_ask=has_turn)

    def request_pause(self, run_id: str, by: str) -> None:
        """Store a pause request, so that it survives crashes. The first request wins."""
        row = insert(pauses).values(run_id=run_id, by=by).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(row)

    def end_pause(self, run_id: str) -> bool:
        """Resume a paused run. Return False if the run was not paused."""
        with self._store.transaction() as connection:
            return connection.execute(delete(pauses).where(pauses.c.run_id == run_id)).rowcount == 1


def _due() -> ColumnElement[bool]:
    """Return the condition that the last poll is old enough, or in the future because the database's clock was set back."""
    return or_(polls.c.at < func.now() - text(f"interval '{ASK_EVERY_S} s'"), polls.c.at > func.now())


def _fenced(attempt: Attempt) -> Fenced:
    return Fenced(f"a later attempt of run {attempt.run_id} has started")
