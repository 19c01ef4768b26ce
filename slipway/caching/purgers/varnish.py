"""Varnish: PURGE for a URL (all its Vary variants), `xkey-purge` and `xkey-softpurge` for tags, BAN for a prefix.

The VCL decides what these mean: examples/shop/cache/varnish.vcl has all of them. Sources: Varnish Users Guide,
"Purging and banning"; vmod_xkey(3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.caching.purgers.purger import Purger, Target, words


class Varnish(Purger):
    """Answers 200 to a purge also when nothing matched."""

    abilities = frozenset({"route", "tag", "prefix", "soft-tag"})

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        [value] = values
        what = words(target, values)
        if target == "route":
            self._send("PURGE", value, what)
        elif target == "tag":
            self._send("PURGE", "/", what, headers={"xkey-softpurge" if soft else "xkey-purge": value})
        else:
            # The VCL bans by a regular expression over the URL as readers send it.
            self._send("BAN", "/", what, headers={"X-Ban-Prefix": re.escape(self._path(value))})
