"""Caches that can be purged: one small interface, one file a kind."""

from __future__ import annotations

import re

from slipway.caching.purgers.akamai import Akamai
from slipway.caching.purgers.bunny import Bunny
from slipway.caching.purgers.cdn import Cdn
from slipway.caching.purgers.cloudflare import Cloudflare
from slipway.caching.purgers.cloudfront import CloudFront
from slipway.caching.purgers.fastly import Fastly
from slipway.caching.purgers.nginx import Nginx, NginxRefresh
from slipway.caching.purgers.purger import Access, Purger
from slipway.caching.purgers.squid import Squid
from slipway.caching.purgers.varnish import Varnish
from slipway.config.service import ZONE, Service
from slipway.core.errors import InvalidInput
from slipway.core.settings import Reference, resolve

KINDS: dict[str, type[Purger]] = {
    "varnish": Varnish,
    "nginx": Nginx,
    "nginx-refresh": NginxRefresh,
    "squid": Squid,
    "fastly": Fastly,
    "cloudflare": Cloudflare,
    "bunny": Bunny,
    "cloudfront": CloudFront,
    "akamai": Akamai,
}


def purger_of(service: Service) -> Purger:
    """The purger of a service's cache. Raises InvalidInput when it has none, or its entry lacks what the kind needs."""
    cache = service.cache
    if cache is None:
        raise InvalidInput(f"Service {service.name} has no [service.cache].", expected="Its entry to say how to purge.")
    kind = resolve(cache.kind)
    wrong = cache.misfit(kind)
    if wrong:
        raise InvalidInput(f"[service.cache] of {service.name}: {wrong}.", expected="An entry that fits its kind.")
    made = KINDS[kind]
    api = made.api if issubclass(made, Cdn) else ""
    return made(
        Access(
            url=api if cache.url is None else resolve(cache.url),
            site=resolve(service.url),
            token=resolve(cache.token),
            token_header=cache.token_header,
            zone="" if cache.zone is None else _zone(service.name, cache.zone),
            credentials={name: resolve(reference) for name, reference in cache.credentials.items()},
        )
    )


def _zone(service: str, reference: Reference) -> str:
    """A zone becomes a part of the path of an API, so it is one word also where the environment names it."""
    zone = resolve(reference)
    if re.match(ZONE, zone) is None:
        raise InvalidInput(f"The zone of the cache of {service} is no zone.", expected="Letters and digits.")
    return zone
