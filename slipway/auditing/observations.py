"""Reading a service's pages for an audit: as everybody on the real addresses, and in turn on addresses of our own."""

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
from slipway.measurement.pages import get, sign_in, visitor

MOST_ROUTES = 30


def routes_to_read(service: Service) -> list[str]:
    """The addresses that the service's entry names in full, each once, thirty at most: GET must be harmless there."""
    named = [route for route in service.routes if not any(mark in route for mark in "*?[")]
    watched = [item.route for item in service.probe.watch]
    controls = list(service.cache.controls) if service.cache else []
    markers = [identity.marker_route for identity in service.identities]
    return list(dict.fromkeys([*named, *watched, *controls, *markers]))[:MOST_ROUTES]


def unknown_page(service: Service) -> Observation:
    """The answer at an address that nobody has. Raises Unavailable when the service does not answer at all."""
    with visitor(service, None) as client:
        answer = get(client, f"/slipway-audit-{secrets.token_hex(8)}", service.name)
    return observation(service, "/…", ANONYMOUS, answer)


def read_pages(service: Service) -> tuple[PagesRead, tuple[Observation, ...]]:
    """Every route as every identity and last as nobody, where a leak would show; and the answers to the sign-ins.

    What cannot be read, and answers of 500 and above, are told as unread.
    """
    seen: list[Observation] = []
    signed_in: list[Observation] = []
    unread: list[str] = []
    for identity in (*service.identities, None):
        name = identity.name if identity else ANONYMOUS
        try:
            with _listened_to(service, identity, signed_in) as client:
                for route in routes_to_read(service):
                    _read(service, client, route, name, seen, unread)
        except SlipwayError as error:
            unread.append(error.failed)
    return PagesRead(observations=tuple(seen), unread=tuple(unread)), tuple(signed_in)


def probe_in_turn(service: Service) -> tuple[list[list[Observation]], list[str]]:
    """Each route at a random address, read by one identity, nobody, the next identity, nobody; and what was not read.

    A random query makes an address that no cache has, so that only our own readings can fill it.
    """
    turns, unread = [], []
    with ExitStack() as stack:
        people: list[tuple[str, httpx.Client]] = []
        for identity in service.identities:
            try:
                people.append((identity.name, stack.enter_context(visitor(service, identity))))
            except SlipwayError as error:
                unread.append(error.failed)
        for route in routes_to_read(service) if people else []:
            try:
                turns.append(_turn(service, people, route))
            except SlipwayError as error:
                unread.append(error.failed)
    return turns, unread


def _turn(service: Service, people: list[tuple[str, httpx.Client]], route: str) -> list[Observation]:
    mark = "&" if "?" in route else "?"
    target, address = f"{route}{mark}probe=…", f"{route}{mark}probe={secrets.token_hex(8)}"
    turn = []
    for name, client in people:
        cancellation.check()
        turn.append(observation(service, target, name, _get(client, address, target, service)))
        with visitor(service, None) as nobody:
            turn.append(observation(service, target, ANONYMOUS, _get(nobody, address, target, service)))
    return turn


def _get(client: httpx.Client, address: str, target: str, service: Service) -> httpx.Response:
    """As `get`; a failure names the target, so that two audits tell it in the same words."""
    with suppress(SlipwayError):
        return get(client, address, service.name)
    raise SlipwayError(f"{target} was not answered.", expected="A page.", retry_is_safe=True)


def _read(
    service: Service, client: httpx.Client, route: str, name: str, seen: list[Observation], unread: list[str]
) -> None:
    cancellation.check()
    try:
        one = observation(service, route, name, get(client, route, service.name))
    except SlipwayError as error:
        unread.append(f"{route} as {name}: {error.failed}")
        return
    seen.append(one)
    if one.status >= 500:
        unread.append(f"{one.place}: {one.status}")


@contextmanager
def _listened_to(service: Service, identity: Identity | None, signed_in: list[Observation]) -> Iterator[httpx.Client]:
    """A visitor whose sign-in is looked at, as that is where a session's cookie is set."""

    def listen(answer: httpx.Response) -> None:
        if answer.request.method == "POST" and identity is not None:
            answer.read()
            signed_in.append(observation(service, f"POST {answer.request.url.path}", identity.name, answer))

    with visitor(service, None) as client:
        client.event_hooks = {"response": [listen]}
        if identity is not None:
            sign_in(client, service, identity)
        yield client


def observation(service: Service, target: str, identity: str, answer: httpx.Response) -> Observation:
    """An answer as it is looked at; `target` is what people read of its address."""
    return Observation(
        target=target,
        identity=identity,
        status=answer.status_code,
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in answer.headers.raw),
        body=answer.text,
        shows=tuple(other.name for other in service.identities if other.marker in answer.text),
    )
