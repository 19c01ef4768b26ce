"""Read a service's pages for an audit: all identities at the real URLs, and in turn at random URLs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx

from slipway.auditing.report import Observation, PagesRead
from slipway.config.service import Identity, Service
from slipway.core import cancellation
from slipway.core.errors import SlipwayError
from slipway.core.frozen import ANONYMOUS
from slipway.measurement.pages import get, service_client, sign_in

MAX_ROUTES = 30


def routes_to_read(service: Service) -> list[str]:
    """Return the routes without wildcards that the service's entry names, at most thirty. A GET there must be harmless."""
    routes = [route for route in service.routes if not any(character in route for character in "*?[")]
    watched = [item.route for item in service.probe.watch]
    controls = list(service.cache.controls) if service.cache else []
    markers = [identity.marker_route for identity in service.identities]
    return list(dict.fromkeys([*routes, *watched, *controls, *markers]))[:MAX_ROUTES]


def unknown_page(service: Service) -> Observation:
    """Return the response to a URL that does not exist. Raises Unavailable if the service does not answer."""
    with service_client(service, None) as client:
        response = get(client, f"/slipway-audit-{secrets.token_hex(8)}", service.name)
    return observe(service, "/…", ANONYMOUS, response)


def read_pages(service: Service) -> tuple[PagesRead, tuple[Observation, ...]]:
    """Read every route as every identity, then as anonymous; return the pages and the responses to the sign-ins.

    Anonymous is last, because a leak shows there. Pages that could not be read, and responses with a status from 500 on,
    are listed as unread.
    """
    observations: list[Observation] = []
    sign_ins: list[Observation] = []
    unread: list[str] = []
    for identity in (*service.identities, None):
        name = identity.name if identity else ANONYMOUS
        try:
            with _recording_sign_in(service, identity, sign_ins) as client:
                for route in routes_to_read(service):
                    _read(service, client, route, name, observations, unread)
        except SlipwayError as error:
            unread.append(error.failed)
    return PagesRead(observations=tuple(observations), unread=tuple(unread)), tuple(sign_ins)


def probe_in_turn(service: Service) -> tuple[list[list[Observation]], list[str]]:
    """Read each route at a random URL as one identity, anonymous, the next identity, anonymous; return unread routes too.

    No cache has a URL with a random query, so only the audit's own requests can fill the cache there.
    """
    turns, unread = [], []
    with ExitStack() as stack:
        clients: list[tuple[str, httpx.Client]] = []
        for identity in service.identities:
            try:
                clients.append((identity.name, stack.enter_context(service_client(service, identity))))
            except SlipwayError as error:
                unread.append(error.failed)
        for route in routes_to_read(service) if clients else []:
            try:
                turns.append(_turn(service, clients, route))
            except SlipwayError as error:
                unread.append(error.failed)
    return turns, unread


def _turn(service: Service, clients: list[tuple[str, httpx.Client]], route: str) -> list[Observation]:
    separator = "&" if "?" in route else "?"
    target, address = f"{route}{separator}probe=…", f"{route}{separator}probe={secrets.token_hex(8)}"
    turn = []
    for name, client in clients:
        cancellation.check()
        turn.append(observe(service, target, name, _get(client, address, target, service)))
        with service_client(service, None) as anonymous:
            turn.append(observe(service, target, ANONYMOUS, _get(anonymous, address, target, service)))
    return turn


def _get(client: httpx.Client, address: str, target: str, service: Service) -> httpx.Response:
    """Like `get`, but an error names the target without the random query, so that two audits report the same text."""
    with suppress(SlipwayError):
        return get(client, address, service.name)
    raise SlipwayError(f"The service did not answer {target}.", expected="The service answers.", retry_is_safe=True)


def _read(
    service: Service, client: httpx.Client, route: str, name: str, observations: list[Observation], unread: list[str]
) -> None:
    cancellation.check()
    try:
        observation = observe(service, route, name, get(client, route, service.name))
    except SlipwayError as error:
        unread.append(f"{route} as {name}: {error.failed}")
        return
    observations.append(observation)
    if observation.status >= 500:
        unread.append(f"{observation.place}: {observation.status}")


@contextmanager
def _recording_sign_in(
    service: Service, identity: Identity | None, sign_ins: list[Observation]
) -> Iterator[httpx.Client]:
    """Yield a client for an identity and record its sign-in, because that response sets the session cookie."""

    def record(response: httpx.Response) -> None:
        if response.request.method == "POST" and identity is not None:
            response.read()
            sign_ins.append(observe(service, f"POST {response.request.url.path}", identity.name, response))

    with service_client(service, None) as client:
        client.event_hooks = {"response": [record]}
        if identity is not None:
            sign_in(client, service, identity)
        yield client


def observe(service: Service, target: str, identity: str, response: httpx.Response) -> Observation:
    """Return the observation of a response; `target` is the URL's path for the report."""
    return Observation(
        target=target,
        identity=identity,
        status=response.status_code,
        headers=tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw
        ),
        body=response.text,
        shows=tuple(other.name for other in service.identities if other.marker in response.text),
    )
