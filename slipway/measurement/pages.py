"""Reading single pages of a service with httpx: one fresh client an identity, cookies never shared."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import httpx

from slipway.config.service import Identity, Service
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.settings import resolve
from slipway.measurement.html_forms import field_value

AWAY = (502, 503, 504)  # what a proxy says for a service that is down or just starting (RFC 9110, 15.6)
TIMEOUT_S = 10.0


@contextmanager
def visitor(service: Service, identity: Identity | None) -> Iterator[httpx.Client]:
    """A client with its own cookies, signed in as `identity` (None is anonymous). Raises SlipwayError when that fails."""
    base = resolve(service.url)
    agent = {"User-Agent": "slipway"}
    with httpx.Client(base_url=base, timeout=TIMEOUT_S, trust_env=False, headers=agent, verify=trusted()) as client:
        if identity is not None:
            sign_in(client, service, identity)
        yield client


@cache
def trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: that takes longer than a page, and an audit has many visitors."""
    return httpx.create_ssl_context(trust_env=False)


def sign_in(client: httpx.Client, service: Service, identity: Identity) -> None:
    """Sign in as the identity does, and prove it: the marker must stand on the marker page.

    Raises SlipwayError when it does not, and Unavailable when the service does not answer.
    """
    way = identity.sign_in
    client.headers.update({name: resolve(value) for name, value in way.headers.items()})
    for name, value in way.cookies.items():
        client.cookies.set(name, resolve(value), path="/")
    told, refused = _post_form(client, service, identity) if way.form is not None else ("", False)
    if identity.marker not in get(client, identity.marker_route, service.name).text or refused:
        raise not_signed_in(service, identity, told)


def not_signed_in(service: Service, identity: Identity, told: str = "") -> SlipwayError:
    """The error for a page that does not show the marker; `told` is what happened before."""
    return SlipwayError(
        f"Signing in to {service.name} as {identity.name} failed: {told}{identity.marker_route} does not show "
        f"{identity.marker!r}.",
        expected="A sign-in after which the page shows the identity's marker; check the test user and its secret.",
        retry_is_safe=True,
    )


def _post_form(client: httpx.Client, service: Service, identity: Identity) -> tuple[str, bool]:
    """Post the form; the answer is what came of it, in words, and whether it was refused."""
    way, path = identity.sign_in, identity.sign_in.path or ""
    form = {field: resolve(value) for field, value in (way.form or {}).items()}
    headers = {}
    if way.csrf_field is not None:
        token = field_value(get(client, path, service.name).text, way.csrf_field)
        if token is None:
            return f"GET {path} shows no field {way.csrf_field!r}, and ", True
        form[way.csrf_field] = token
        headers["Referer"] = str(client.base_url.join(path))  # Django wants one on https
    answer = _send(client, "POST", path, service.name, data=form, headers=headers)
    return f"POST {path} answered {answer.status_code}, and ", answer.status_code >= 400


def get(client: httpx.Client, route: str, service: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """GET a route without following redirects. Raises SlipwayError when the service does not answer."""
    return _send(client, "GET", route, service, headers=headers)


def post(client: httpx.Client, route: str, service: str, body: bytes) -> httpx.Response:
    """POST a body of bytes without following redirects. Raises SlipwayError when the service does not answer."""
    return _send(client, "POST", route, service, content=body)


def _send(
    client: httpx.Client,
    method: str,
    route: str,
    service: str,
    data: dict[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> httpx.Response:
    try:
        answer = client.request(method, route, data=data, headers=headers, content=content)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Service {service} does not answer {method} {route}: {type(error).__name__}.",
            expected=f"An answer within {TIMEOUT_S:g} s.",
        ) from None
    if answer.status_code in AWAY:
        raise Unavailable(
            f"Service {service} answered {answer.status_code} to {method} {route}.", expected="A service that is up."
        )
    return answer
