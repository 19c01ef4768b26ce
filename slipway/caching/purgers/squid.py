"""Squid and compatible caches: PURGE for a URL; no tags, no prefixes.

A purge removes only the Vary variant that its own headers select. Sources: Squid FAQ, "Operating Squid" (PURGE);
measured on Squid 5.7.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.caching.purgers.purger import Purger, Target, describe_targets


class Squid(Purger):
    """Answers 404 if the variant of the page is not in the cache. Only reading shows whether the page is purged."""

    accepted = frozenset({200, 404})

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        self._send("PURGE", values[0], describe_targets(target, values))
