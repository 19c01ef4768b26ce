"""Attempts at a run: each fences the one before it, in our own database, before each effect.

A run that crashed goes on in another process, and so does one whose process only seemed to be dead. Two processes
of one run must never act both: an effect (migrate, purge, roll back, record) happens under an advisory lock, once it
is seen there that no later attempt has begun. A process that dies gives up the lock; a later attempt waits for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import attempts, looks, pauses

MAX_RESUMES = 5  # after so many the run only looks where the service stands, and ends
LOCK_WITHIN_S = 120.0
CANCELS = "for cancels in Prefect"
ASK_EVERY_S = 0.6  # so often one of all runs asks Prefect which are to be cancelled, however many there are
ANSWERED_FOR_S = 3_600  # so long a worker has to answer no for a person who did not, before Prefect fails the run


class Fenced(Exception):
    """A later attempt of the same run has begun; this process must apply nothing any more."""


class Attempt(FrozenModel):
    """One process's try at a run: `number` counts from 1, `resumes` how often the run was resumed after a crash."""

    run_id: str
    number: int
    token: str
    resumes: int
    cancelled_by: str


class ControlRequests(FrozenModel):
    """What is wanted of a run: by whom it is to be cancelled or paused (empty: nobody), and whether it is to ask Prefect."""

    cancelled_by: str
    paused_by: str
    to_ask: bool


class Attempts:
    """The attempts of all runs, in Slipway's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, run_id: str) -> Attempt:
        """Begin an attempt; every earlier one of the run is fenced from here on."""
        row = insert(attempts).values(run_id=run_id, number=1, token=secrets.token_hex(8))
        change = {"number": attempts.c.number + 1, "token": row.excluded.token, "at": func.now()}
        columns = (attempts.c.run_id, attempts.c.number, attempts.c.token, attempts.c.resumes, attempts.c.cancelled_by)
        put = row.on_conflict_do_update(index_elements=["run_id"], set_=change).returning(*columns)
        first_look = insert(looks).values(what=CANCELS, at=func.now()).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(first_look)
            return Attempt.model_validate(dict(connection.execute(put).mappings().one()))

    @contextmanager
    def effect(self, attempt: Attempt, service: str) -> Iterator[None]:
        """Within this block the attempt may act on the service. Raises Fenced, or Unavailable when the lock is not got."""
        with self._store.locked(f"effect on {service}", LOCK_WITHIN_S) as connection:
            query = select(attempts.c.token).where(attempts.c.run_id == attempt.run_id)
            if connection.execute(query).scalar() != attempt.token:
                raise _fenced(attempt)
            yield

    def claim_resume(self, run_id: str, crash: str) -> int | None:
        """Claim the one resume that a crash (by its state's id) is worth; the count of resumes, or None when it was claimed."""
        row = insert(attempts).values(run_id=run_id, resumes=1, crash=crash)
        change = {"resumes": attempts.c.resumes + 1, "crash": row.excluded.crash}
        put = row.on_conflict_do_update(
            index_elements=["run_id"], set_=change, where=attempts.c.crash != row.excluded.crash
        ).returning(attempts.c.resumes)
        with self._store.transaction() as connection:
            claimed: int | None = connection.execute(put).scalar()
            return claimed

    def request_cancel(self, run_id: str, by: str) -> None:
        """Remember, across crashes, that somebody wants the run cancelled; the first one stands."""
        row = insert(attempts).values(run_id=run_id, cancelled_by=by)
        put = row.on_conflict_do_update(
            index_elements=["run_id"], set_={"cancelled_by": by}, where=attempts.c.cancelled_by == ""
        )
        with self._store.transaction() as connection:
            connection.execute(put)

    def mark_cancelled(self, run_ids: Collection[str], by: str) -> None:
        """As `request_cancel`, for those of these runs that have begun; the others are not ours, or not yet."""
        change = update(attempts).where(attempts.c.run_id.in_(run_ids), attempts.c.cancelled_by == "")
        with self._store.statement() as connection:
            connection.execute(change.values(cancelled_by=by))

    def control_requests(self, attempt: Attempt) -> ControlRequests:
        """What is wanted of the attempt's run. Raises Fenced once a later attempt has begun.

        Of all runs that look, one every ASK_EVERY_S is told to ask Prefect for all: a question of each would cost
        Prefect's server more than all else that they do.
        """
        turn = (
            update(looks).where(looks.c.what == CANCELS, _due()).values(at=func.now()).returning(looks.c.at).cte("turn")
        )
        to_ask = select(turn.c.at).exists()
        columns = (attempts.c.token, attempts.c.cancelled_by, func.coalesce(pauses.c.by, ""), to_ask)
        both = attempts.outerjoin(pauses, pauses.c.run_id == attempts.c.run_id)
        query = select(*columns).select_from(both).where(attempts.c.run_id == attempt.run_id)
        with self._store.statement() as connection:
            token, cancelled_by, paused_by, ask = connection.execute(query).one()
        if token != attempt.token:
            raise _fenced(attempt)
        return ControlRequests(cancelled_by=cancelled_by, paused_by=paused_by, to_ask=ask)

    def request_pause(self, run_id: str, by: str) -> None:
        """Remember, across crashes, that somebody wants the run paused; the first one stands."""
        put = insert(pauses).values(run_id=run_id, by=by).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(put)

    def end_pause(self, run_id: str) -> bool:
        """Let a paused run go on; false when it was not paused."""
        with self._store.transaction() as connection:
            return connection.execute(delete(pauses).where(pauses.c.run_id == run_id)).rowcount == 1


def _due() -> ColumnElement[bool]:
    """The last look is long enough ago; or it is to come, as the database's clock was set back."""
    return or_(looks.c.at < func.now() - text(f"interval '{ASK_EVERY_S} s'"), looks.c.at > func.now())


def _fenced(attempt: Attempt) -> Fenced:
    return Fenced(f"a later attempt of run {attempt.run_id} has begun")
