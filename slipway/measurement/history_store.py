"""The history of measurements in Slipway's store."""

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
    """The points of all services. Every method raises Unavailable when the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, service: str, points: Iterable[Point]) -> None:
        """Add the points of a run; a repeat replaces its own."""
        rows = [{"service": service, **point.model_dump()} for point in points]
        if not rows:
            return
        put = insert(measurements).values(rows)
        values = {name: put.excluded[name] for name in ("at", "samples", "errors", "median_ms", "p90_ms")}
        with self._store.transaction() as connection:
            connection.execute(put.on_conflict_do_update(index_elements=list(KEY), set_=values))

    def of(self, service: str, since: datetime | None = None) -> list[Point]:
        """The points of a service, the oldest first."""
        wanted = select(*COLUMNS).where(measurements.c.service == service).order_by(measurements.c.at)
        if since is not None:
            wanted = wanted.where(measurements.c.at >= since)
        with self._store.transaction() as connection:
            return [Point.model_validate(dict(row)) for row in connection.execute(wanted).mappings()]

    def forget(self, points: Iterable[Point]) -> None:
        """Remove points."""
        keys = [(point.run_id, point.route, point.identity, point.cache) for point in points]
        with self._store.transaction() as connection:
            for at in range(0, len(keys), 1_000):
                connection.execute(delete(measurements).where(tuple_(*KEY).in_(keys[at : at + 1_000])))

    def forget_samples(self, step: str, before: datetime) -> None:
        """Remove the raw samples that runs of a step left before a time; their points stay."""
        old = delete(outcomes).where(
            outcomes.c.kind == "MeasuredWindow", outcomes.c.step == step, outcomes.c.at < before
        )
        with self._store.transaction() as connection:
            connection.execute(old)
