"""Caches that can be purged: one small interface, one file a kind."""

from __future__ import annotations

from slipway.adapters.caches.nginx import Nginx
from slipway.adapters.caches.purging import Purger
from slipway.adapters.caches.varnish import Varnish
from slipway.errors import InvalidInput
from slipway.service import Service
from slipway.settings import resolve

KINDS: dict[str, type[Purger]] = {"varnish": Varnish, "nginx": Nginx}


def purger_of(service: Service) -> Purger:
    """The purger of a service's cache. Raises InvalidInput when it has none, or one of an unknown kind."""
    if service.cache is None:
        raise InvalidInput(f"Service {service.name} has no [service.cache].", expected="Its entry to say how to purge.")
    kind = resolve(service.cache.kind)
    if kind not in KINDS:
        raise InvalidInput(
            f"Service {service.name} has a cache of kind {kind!r}.", expected=f"One of: {', '.join(sorted(KINDS))}."
        )
    return KINDS[kind](
        url=resolve(service.cache.url),
        host=resolve(service.url),
        token_header=service.cache.token_header,
        token=resolve(service.cache.token),
    )
