"""Squid, and what speaks like it: PURGE for a URL; no tags, no prefixes.

Only the Vary variant that the purge's own headers select leaves. Sources: Squid FAQ, "Operating Squid" (PURGE);
measured on Squid 5.7.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.caching.purgers.purger import Purger, Target, words


class Squid(Purger):
    """Answers 404 when the page was not there: gone, never stored, or another variant. Reading tells which."""

    accepted = frozenset({200, 404})

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        self._send("PURGE", values[0], words(target, values))
