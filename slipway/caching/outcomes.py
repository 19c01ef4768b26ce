"""What a purge returns."""

from __future__ import annotations

from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.measurement.samples import CacheClass, MonitorResult


class RouteReading(FrozenModel):
    """How the cache answered two anonymous reads of a route after a purge, in one variant of the page.

    `evicted` marks a control that was in the cache before, and is no longer, or is younger than it was.
    """

    route: str
    variant: str = ""  # the request headers that select it, as the service declares them
    first: CacheClass
    second: CacheClass
    age_s: int | None = None
    evicted: bool = False

    @property
    def page(self) -> str:
        """The route, and the variant where it is not the plain one."""
        return f"{self.route} ({self.variant})" if self.variant else self.route


class Purged(FrozenModel):
    """What was asked to leave the cache, and what reading afterwards showed."""

    routes: tuple[str, ...]
    tags: tuple[str, ...]
    affected: tuple[RouteReading, ...]
    controls: tuple[RouteReading, ...]
    seconds: float
    watched: MonitorResult | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What left the cache besides."""
        return tuple(
            Finding(
                code="collateral-eviction",
                level="warning",
                summary=f"{reading.page} left the cache, too.",
                explanation="It was in the cache before the purge, and only what a change names may leave. Does a tag or a "
                "rule of the cache take it along? It may also have expired by itself just then.",
            )
            for reading in self.controls
            if reading.evicted
        )
