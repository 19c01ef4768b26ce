"""The audits of all services in Slipway's store. The last audit of a service decides which failures are new."""

from __future__ import annotations

from pydantic import AwareDatetime
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from slipway.auditing.report import Audit
from slipway.core.frozen import FrozenModel
from slipway.runs.store import Store
from slipway.runs.tables import audits


class LastAudit(FrozenModel):
    """An audit, the run that made it, and its time."""

    run_id: str
    at: AwareDatetime
    audit: Audit


class Audits:
    """The audits in the store. Every method raises Unavailable if the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, run_id: str, audit: Audit) -> None:
        """Save the audit of a run. Saving again replaces it."""
        row = insert(audits).values(run_id=run_id, service=audit.service, body=audit.model_dump(mode="json"))
        upsert = row.on_conflict_do_update(
            index_elements=["run_id"], set_={"body": row.excluded.body, "at": func.now()}
        )
        with self._store.transaction() as connection:
            connection.execute(upsert)

    def last_before(self, run_id: str, service: str) -> Audit | None:
        """Return the newest audit of a service by a run other than `run_id`, or None."""
        query = select(audits.c.body).where(audits.c.service == service, audits.c.run_id != run_id)
        with self._store.transaction() as connection:
            body = connection.execute(query.order_by(audits.c.at.desc()).limit(1)).scalar_one_or_none()
        return None if body is None else Audit.model_validate(body)

    def last(self, service: str) -> LastAudit | None:
        """Return the newest audit of a service, or None."""
        query = select(audits.c.run_id, audits.c.at, audits.c.body.label("audit")).where(audits.c.service == service)
        with self._store.transaction() as connection:
            row = connection.execute(query.order_by(audits.c.at.desc()).limit(1)).mappings().one_or_none()
        return None if row is None else LastAudit.model_validate(dict(row))
