"""The audits of all services, in Slipway's store: the last one tells which failures are new."""

from __future__ import annotations

from pydantic import AwareDatetime
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from slipway.auditing.report import Audit
from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import audits


class LastAudit(FrozenModel):
    """An audit with the run that made it, and when."""

    run_id: str
    at: AwareDatetime
    audit: Audit


class Audits:
    """What came of each audit. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, run_id: str, audit: Audit) -> None:
        """Remember the audit of a run; a repeat replaces it."""
        row = insert(audits).values(run_id=run_id, service=audit.service, body=audit.model_dump(mode="json"))
        put = row.on_conflict_do_update(index_elements=["run_id"], set_={"body": row.excluded.body, "at": func.now()})
        with self._store.transaction() as connection:
            connection.execute(put)

    def last_before(self, run_id: str, service: str) -> Audit | None:
        """The newest audit of a service by another run than `run_id`, or None."""
        wanted = select(audits.c.body).where(audits.c.service == service, audits.c.run_id != run_id)
        with self._store.transaction() as connection:
            body = connection.execute(wanted.order_by(audits.c.at.desc()).limit(1)).scalar_one_or_none()
        return None if body is None else Audit.model_validate(body)

    def last(self, service: str) -> LastAudit | None:
        """The newest audit of a service, or None."""
        wanted = select(audits.c.run_id, audits.c.at, audits.c.body.label("audit")).where(audits.c.service == service)
        with self._store.transaction() as connection:
            row = connection.execute(wanted.order_by(audits.c.at.desc()).limit(1)).mappings().one_or_none()
        return None if row is None else LastAudit.model_validate(dict(row))
