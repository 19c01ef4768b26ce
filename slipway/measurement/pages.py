"""Read single pages of a service with httpx: one new client per identity, so identities never share cookies."""

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

UNAVAILABLE_STATUSES = (502, 503, 504)  # a proxy sends these while a service is down or starting (RFC 9110, 15.6)
TIMEOUT_S = 10.0


@contextmanager
def service_client(service: Service, identity: Identity | None) -> Iterator[httpx.Client]:
    """Yield a client with its own cookies, signed in as `identity` (None is anonymous). Raise SlipwayError on failure."""
    base = resolve(service.url)
    agent = {"User-Agent": "slipway"}
    with httpx.Client(base_url=base, timeout=TIMEOUT_S, trust_env=False, headers=agent, verify=trusted()) as client:
        if identity is not None:
            sign_in(client, service, identity)
        yield client


@cache
def trusted() -> ssl.SSLContext:
    """Return the trusted certificates. Cached: reading them takes longer than a page, and an audit uses many clients."""
    return httpx.create_ssl_context(trust_env=False)


def sign_in(client: httpx.Client, service: Service, identity: Identity) -> None:
    """Sign in as the identity and check that the marker is on the marker page.

    Raises SlipwayError if the marker is missing, and Unavailable if the service does not answer.
    """
    method = identity.sign_in
    client.headers.update({name: resolve(value) for name, value in method.headers.items()})
    for name, value in method.cookies.items():
        client.cookies.set(name, resolve(value), path="/")
    form_result, form_rejected = _post_form(client, service, identity) if method.form is not None else ("", False)
    if identity.marker not in get(client, identity.marker_route, service.name).text or form_rejected:
        raise not_signed_in(service, identity, form_result)


def not_signed_in(service: Service, identity: Identity, form_result: str = "") -> SlipwayError:
    """Return the error for a page without the marker; `form_result` describes the response to the sign-in form."""
    return SlipwayError(
        f"Signing in to {service.name} as {identity.name} failed: {form_result}{identity.marker_route} does not show "
        f"{identity.marker!r}.",
        expected="The page shows the identity's marker after the sign-in. Check the test user and its secret.",
        retry_is_safe=True,
    )


def _post_form(client: httpx.Client, service: Service, identity: Identity) -> tuple[str, bool]:
    """Post the sign-in form. Return a description of the result, and whether the form was rejected."""
    method, path = identity.sign_in, identity.sign_in.path or ""
    form = {field: resolve(value) for field, value in (method.form or {}).items()}
    headers = {}
    if method.csrf_field is not None:
        token = field_value(get(client, path, service.name).text, method.csrf_field)
        if token is None:
            return f"GET {path} has no form field {method.csrf_field!r}, and ", True
        form[method.csrf_field] = token
        headers["Referer"] = str(client.base_url.join(path))  # Django requires a Referer on https
    response = _send(client, "POST", path, service.name, data=form, headers=headers)
    return f"POST {path} answered {response.status_code}, and ", response.status_code >= 400


def get(client: httpx.Client, route: str, service: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Send a GET without following redirects. Raise SlipwayError if the service does not answer."""
    return _send(client, "GET", route, service, headers=headers)


def post(client: httpx.Client, route: str, service: str, body: bytes) -> httpx.Response:
    """Send a POST with a body of bytes, without following redirects. Raise SlipwayError if the service does not answer."""
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
        response = client.request(method, route, data=data, headers=headers, content=content)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Service {service} does not answer {method} {route}: {type(error).__name__}.",
            expected=f"The service answers within {TIMEOUT_S:g} s.",
        ) from None
    if response.status_code in UNAVAILABLE_STATUSES:
        raise Unavailable(
            f"Service {service} answered {response.status_code} to {method} {route}.",
            expected="The service is running.",
        )
    return response
