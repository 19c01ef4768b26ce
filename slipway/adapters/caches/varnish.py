"""Varnish: PURGE for a URL (all its Vary variants), and `xkey-purge` for tags where the VCL imports xkey."""

from __future__ import annotations

from slipway.adapters.caches.purging import Purger


class Varnish(Purger):
    """Answers 200 to a purge also when nothing matched."""

    tags_supported = True

    def purge_route(self, route: str) -> None:
        self._send("PURGE", route, route)

    def purge_tag(self, tag: str) -> None:
        self._send("PURGE", "/", f"tag {tag}", headers={"xkey-purge": tag})
