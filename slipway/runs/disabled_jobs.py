"""Disabled jobs. No endpoint of the admin service starts a disabled job until the job is enabled again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import disabled_jobs

_DISABLED = (disabled_jobs.c.job, disabled_jobs.c.by, disabled_jobs.c.why, disabled_jobs.c.since)


class Disabled(FrozenModel):
    """A disabled job: who disabled it, why, and since when."""

    job: str
    by: str
    why: str
    since: datetime


class DisabledJobs:
    """The disabled jobs, in Slipway's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def disabled(self) -> dict[str, Disabled]:
        """Return all disabled jobs by name."""
        with self._store.statement() as connection:
            rows = connection.execute(select(*_DISABLED)).mappings()
            return {str(row["job"]): Disabled.model_validate(dict(row)) for row in rows}

    def disable(self, job: str, by: str, why: str) -> None:
        """Disable a job. The first request wins. Safe to repeat."""
        row = insert(disabled_jobs).values(job=job, by=by, why=why).on_conflict_do_nothing()
        with self._store.transaction() as connection:
            connection.execute(row)

    def enable(self, job: str) -> None:
        """Enable a job again. Safe to repeat."""
        with self._store.transaction() as connection:
            connection.execute(delete(disabled_jobs).where(disabled_jobs.c.job == job))
