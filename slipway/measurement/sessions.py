"""Connections for timing that are signed in, as the probe and whoever watches a change have them."""

from __future__ import annotations

import asyncio

import httpx

from slipway.config.service import Identity, Service
from slipway.core.errors import Unavailable
from slipway.core.settings import resolve
from slipway.measurement.connections import ConnectionPool, Cookie
from slipway.measurement.pages import AWAY, not_signed_in, trusted, visitor


async def signed_wire(service: Service, identity: Identity | None) -> ConnectionPool:
    """Connections of an identity's own, with the proof that it is signed in; of nobody's without one. Raises SlipwayError."""
    wire = await asyncio.to_thread(_wire, service, identity)
    if identity is not None:
        try:
            await _prove(wire, service, identity)
        except BaseException:
            await wire.close()
            raise
    return wire


def _wire(service: Service, identity: Identity | None) -> ConnectionPool:
    """Connections of their own for an identity, which is signed in. Raises SlipwayError."""
    headers, cookies = {"User-Agent": "slipway"}, []
    if identity is not None:
        with visitor(service, identity) as client:
            headers |= {name: resolve(value) for name, value in identity.sign_in.headers.items()}
            cookies = [Cookie(found.name, found.value or "", found.path) for found in client.cookies.jar]
    url, timeout_s = resolve(service.url), service.probe.timeout_s
    return ConnectionPool(url, headers=headers, cookies=cookies, timeout_s=timeout_s, trusted=trusted())


async def _prove(wire: ConnectionPool, service: Service, identity: Identity) -> None:
    """See that this client is signed in, too. Raises SlipwayError."""
    try:
        page = await wire.ask(target(identity.marker_route), encodings="identity")
    except (OSError, TimeoutError) as error:
        raise away(service, identity.marker_route, error) from None
    up(service, identity.marker_route, page.status)
    if identity.marker.encode() not in page.body:
        raise not_signed_in(service, identity)


def target(route: str) -> str:
    """The route as httpx sends it to inspect and purge."""
    return httpx.URL(route).raw_path.decode("ascii")


def up(service: Service, route: str, status: int) -> None:
    """Raise Unavailable when a proxy answers for a service that is down."""
    if status in AWAY:
        raise Unavailable(f"Service {service.name} answered {status} to {route}.", expected="A service that is up.")


def away(service: Service, route: str, error: BaseException) -> Unavailable:
    """The error for a service that does not answer."""
    return Unavailable(
        f"Service {service.name} does not answer {route}: {type(error).__name__}.",
        expected=f"An answer within {service.probe.timeout_s:g} s.",
    )
