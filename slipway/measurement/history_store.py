"""Store the history of measurements in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from slipway.measurement.history import Point
from slipway.runs.store import Store
from slipway.runs.tables import measurements, outcomes

KEY = (measurements.c.run_id, measurements.c.route, measurements.c.identity, measurements.c.cache)
COLUMNS = [measurements.c[name] for name in Point.model_fields]


class History:
    """The points of all services. Every method raises Unavailable if the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, service: str, points: Iterable[Point]) -> None:
        """Add the points of a run; repeated, replace the points of the same run."""
        rows = [{"service": service, **point.model_dump()} for point in points]
        if not rows:
            return
        statement = insert(measurements).values(rows)
        values = {name: statement.excluded[name] for name in ("at", "samples", "errors", "median_ms", "p90_ms")}
        with self._store.transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=list(KEY), set_=values))

    def points(self, service: str, since: datetime | None = None) -> list[Point]:
        """Return the points of a service, oldest first."""
        query = select(*COLUMNS).where(measurements.c.service == service).order_by(measurements.c.at)
        if since is not None:
            query = query.where(measurements.c.at >= since)
        with self._store.transaction() as connection:
            return [Point.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def delete_points(self, points: Iterable[Point]) -> None:
        """Delete points."""
        keys = [(point.run_id, point.route, point.identity, point.cache) for point in points]
        with self._store.transaction() as connection:
            for start in range(0, len(keys), 1_000):
                connection.execute(delete(measurements).where(tuple_(*KEY).in_(keys[start : start + 1_000])))

    def delete_samples(self, step: str, before: datetime) -> None:
        """Delete the raw samples that a step stored before a time; the points stay."""
        old = delete(outcomes).where(
            outcomes.c.kind == "MeasuredWindow", outcomes.c.step == step, outcomes.c.at < before
        )
        with self._store.transaction() as connection:
            connection.execute(old)
