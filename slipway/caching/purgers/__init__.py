"""Caches that can be purged: one interface, one file per kind."""

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
    """Return the purger of a service's cache. Raises InvalidInput without a cache, or if the entry does not fit its kind."""
    cache = service.cache
    if cache is None:
        raise InvalidInput(
            f"Service {service.name} has no [service.cache].", expected="The entry has a [service.cache]."
        )
    kind = resolve(cache.kind)
    key_error = cache.key_error(kind)
    if key_error:
        raise InvalidInput(f"[service.cache] of {service.name}: {key_error}.", expected="An entry that fits its kind.")
    purger_class = KINDS[kind]
    api = purger_class.api if issubclass(purger_class, Cdn) else ""
    return purger_class(
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
    """Return the zone. It becomes part of an API path, so a zone from the environment is checked too."""
    zone = resolve(reference)
    if re.match(ZONE, zone) is None:
        raise InvalidInput(f"The zone of the cache of {service} is not valid.", expected="Letters and digits.")
    return zone
