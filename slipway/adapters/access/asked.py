"""Who asked for a run: kept beside what its steps leave behind, so that whoever approves it is somebody else."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert

from slipway.adapters.store import Store
from slipway.adapters.tables import outcomes

STEP, KIND = "asked", "Asked"


class Asked:
    """Who asked for which run. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, run_id: str, by: str) -> None:
        """Remember who asked; the first one stands."""
        row = insert(outcomes).values(run_id=run_id, step=STEP, kind=KIND, body={"by": by})
        with self._store.statement() as connection:
            connection.execute(row.on_conflict_do_nothing())

    def by(self, run_id: str) -> str | None:
        """Who asked for a run; None for one that a schedule or Prefect itself started."""
        found = self._store.outcome_of(run_id, STEP)
        return None if found is None else str(found.body["by"])
