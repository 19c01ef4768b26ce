"""Open signed-in HTTP connections for the probe and the monitor."""

from __future__ import annotations

import asyncio

import httpx

from slipway.config.service import Identity, Service
from slipway.core.errors import Unavailable
from slipway.core.settings import resolve
from slipway.measurement.connections import ConnectionPool, Cookie
from slipway.measurement.pages import UNAVAILABLE_STATUSES, not_signed_in, service_client, trusted


async def open_pool(service: Service, identity: Identity | None) -> ConnectionPool:
    """Return a connection pool whose sign-in as `identity` is verified (None is anonymous). Raise SlipwayError."""
    pool = await asyncio.to_thread(_new_pool, service, identity)
    if identity is not None:
        try:
            await _check_signed_in(pool, service, identity)
        except BaseException:
            await pool.close()
            raise
    return pool


def _new_pool(service: Service, identity: Identity | None) -> ConnectionPool:
    """Sign in and return a new connection pool with the cookies of the identity. Raise SlipwayError."""
    headers, cookies = {"User-Agent": "slipway"}, []
    if identity is not None:
        with service_client(service, identity) as client:
            headers |= {name: resolve(value) for name, value in identity.sign_in.headers.items()}
            cookies = [Cookie(cookie.name, cookie.value or "", cookie.path) for cookie in client.cookies.jar]
    url, timeout_s = resolve(service.url), service.probe.timeout_s
    return ConnectionPool(url, headers=headers, cookies=cookies, timeout_s=timeout_s, trusted=trusted())


async def _check_signed_in(pool: ConnectionPool, service: Service, identity: Identity) -> None:
    """Check that the pool is signed in, too. Raise SlipwayError."""
    try:
        page = await pool.request(request_target(identity.marker_route), encodings="identity")
    except (OSError, TimeoutError) as error:
        raise unreachable(service, identity.marker_route, error) from None
    check_status(service, identity.marker_route, page.status)
    if identity.marker.encode() not in page.body:
        raise not_signed_in(service, identity)


def request_target(route: str) -> str:
    """Return the request target of a route, encoded by httpx as for inspect and purge."""
    return httpx.URL(route).raw_path.decode("ascii")


def check_status(service: Service, route: str, status: int) -> None:
    """Raise Unavailable if a proxy answers for a service that is down."""
    if status in UNAVAILABLE_STATUSES:
        raise Unavailable(f"Service {service.name} answered {status} to {route}.", expected="The service is running.")


def unreachable(service: Service, route: str, error: BaseException) -> Unavailable:
    """Return the error for a service that does not answer."""
    return Unavailable(
        f"Service {service.name} does not answer {route}: {type(error).__name__}.",
        expected=f"The service answers within {service.probe.timeout_s:g} s.",
    )
