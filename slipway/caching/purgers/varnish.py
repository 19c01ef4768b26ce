"""Varnish: PURGE for a URL (all its Vary variants), `xkey-purge` and `xkey-softpurge` for tags, BAN for a prefix.

The VCL must implement them, as examples/shop/cache/varnish.vcl does. Sources: Varnish Users Guide, "Purging and banning";
vmod_xkey(3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.caching.purgers.purger import Purger, Target, describe_targets


class Varnish(Purger):
    """Answers 200 to a purge even if nothing matched."""

    abilities = frozenset({"route", "tag", "prefix", "soft-tag"})

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        [value] = values
        description = describe_targets(target, values)
        if target == "route":
            self._send("PURGE", value, description)
        elif target == "tag":
            self._send("PURGE", "/", description, headers={"xkey-softpurge" if soft else "xkey-purge": value})
        else:
            # The VCL bans with a regular expression on the URL in the form that readers send.
            self._send("BAN", "/", description, headers={"X-Ban-Prefix": re.escape(self._path(value))})
