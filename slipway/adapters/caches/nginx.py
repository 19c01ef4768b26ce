"""nginx: `GET /purge/<route>` at a location of its own, by the purge module or by njs; no tags, no prefixes."""

from __future__ import annotations

from slipway.adapters.caches.purging import Purger


class Nginx(Purger):
    """Answers 404 when the key was not there: gone, or never stored. Reading tells which."""

    accepted = frozenset({200, 404})

    def purge_route(self, route: str) -> None:
        self._send("GET", f"/purge{route}", route)
