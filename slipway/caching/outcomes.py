"""The result of a purge."""

from __future__ import annotations

from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.measurement.samples import CacheClass, MonitorResult


class RouteReading(FrozenModel):
    """Two anonymous reads of a route after a purge, in one variant of the page.

    `evicted` marks a control that was in the cache before the purge, and is now missing or younger.
    """

    route: str
    variant: str = ""  # the request headers that select the variant, as the service declares them
    first: CacheClass
    second: CacheClass
    age_s: int | None = None
    evicted: bool = False

    @property
    def page(self) -> str:
        """Return the route, and the variant if it has request headers."""
        return f"{self.route} ({self.variant})" if self.variant else self.route


class Purged(FrozenModel):
    """The purged routes and tags, and the readings after the purge."""

    routes: tuple[str, ...]
    tags: tuple[str, ...]
    affected: tuple[RouteReading, ...]
    controls: tuple[RouteReading, ...]
    seconds: float
    watched: MonitorResult | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return a finding for each control that left the cache."""
        return tuple(
            Finding(
                code="collateral-eviction",
                level="warning",
                summary=f"{reading.page} left the cache, too.",
                explanation="It was in the cache before the purge, and the change does not name it. Check whether a tag or a "
                "rule of the cache matches it. It may also have expired at that moment.",
            )
            for reading in self.controls
            if reading.evicted
        )
