"""Attempts at a run: each fences the one before it, in our own database, before each effect.

A run that crashed goes on in another process, and so does one whose process only seemed to be dead. Two processes
of one run must never act both: an effect (migrate, purge, roll back, record) happens under an advisory lock, once it
is seen there that no later attempt has begun. A process that dies gives up the lock; a later attempt waits for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from slipway.adapters.store import Store
from slipway.adapters.tables import attempts, pauses
from slipway.noun import Noun

MAX_RESUMES = 5  # after so many the run only looks where the service stands, and ends
LOCK_WITHIN_S = 120.0
ANSWERED_FOR_S = 3_600  # so long a worker has to answer no for a person who did not, before Prefect fails the run


class Fenced(Exception):
    """A later attempt of the same run has begun; this process must apply nothing any more."""


class Attempt(Noun):
    """One process's try at a run: `number` counts from 1, `resumes` how often the run was resumed after a crash."""

    run_id: str
    number: int
    token: str
    resumes: int
    cancelled_by: str


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
        with self._store.transaction() as connection:
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

    def cancelled_by(self, attempt: Attempt) -> str:
        """Who wants the attempt's run cancelled; empty when nobody does. Raises Fenced once a later attempt has begun."""
        wanted = select(attempts.c.token, attempts.c.cancelled_by).where(attempts.c.run_id == attempt.run_id)
        with self._store.transaction() as connection:
            token, by = connection.execute(wanted).one()
        if token != attempt.token:
            raise _fenced(attempt)
        return str(by)

    def request_pause(self, run_id: str, by: str) -> None:
        """Remember, across crashes, that somebody wants the run paused; the first one stands."""
        put = insert(pauses).values(run_id=run_id, by=by).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(put)

    def end_pause(self, run_id: str) -> bool:
        """Let a paused run go on; false when it was not paused."""
        with self._store.transaction() as connection:
            return connection.execute(delete(pauses).where(pauses.c.run_id == run_id)).rowcount == 1

    def paused_by(self, run_id: str) -> str:
        """Who wants the run paused; empty when nobody does."""
        with self._store.transaction() as connection:
            return connection.execute(select(pauses.c.by).where(pauses.c.run_id == run_id)).scalar() or ""


def _fenced(attempt: Attempt) -> Fenced:
    return Fenced(f"a later attempt of run {attempt.run_id} has begun")
