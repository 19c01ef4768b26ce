"""Doctor: what a run needs, looked at one by one. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx

from slipway.adapters.admin_client import admin_url
from slipway.adapters.databases.moving import is_same_database
from slipway.adapters.databases.postgresql import PostgreSQL, client_tools
from slipway.errors import SlipwayError
from slipway.rules.differences import differences, same_commands
from slipway.service import Noun, Service, load_services
from slipway.settings import Settings, resolve


class Line(Noun):
    """One thing looked at."""

    what: str
    ok: bool
    told: str


def examine(settings: Settings) -> list[Line]:
    """Each thing with what was found; never raises."""
    return [
        _look("services", lambda: ", ".join(load_services(settings.config))),
        _look("changes", lambda: ", ".join(sorted(p.parent.name for p in settings.changes.glob("*/change.toml")))),
        _look("PostgreSQL tools", lambda: client_tools().name),
        _look("admin service", lambda: _ready(admin_url(settings))),
        *_stagings(settings),
    ]


def _stagings(settings: Settings) -> list[Line]:
    """For each service with a staging service: what differs there."""
    try:
        services = load_services(settings.config)
    except SlipwayError:
        return []  # told in the first line
    return [
        _look(f"staging of {service.name}", partial(_staging, service, services[service.staging.service]))
        for service in services.values()
        if service.staging is not None
    ]


def _staging(service: Service, staging: Service) -> str:
    told = "; ".join([*differences(service, staging), *_databases(service, staging)])
    if not same_commands(service, staging):
        raise SlipwayError(
            f"{staging.name} proves nothing for {service.name}, as it migrates by other commands. {told}",
            expected="The same commands in both entries.",
            retry_is_safe=True,
        )
    return f"{staging.name}: {told or 'no difference that matters'}"


def _databases(service: Service, staging: Service) -> list[str]:
    """How the databases differ. Raises SlipwayError when both are the same one, or one cannot be read."""
    if service.database is None or staging.database is None:
        return [] if service.database is staging.database else ["only one of them has a database"]
    here, there = PostgreSQL(resolve(service.database.url)), PostgreSQL(resolve(staging.database.url))
    if is_same_database(here, there):
        raise SlipwayError(
            f"{staging.name} has the database of {service.name} itself.",
            expected="A staging service with a database of its own.",
            retry_is_safe=True,
        )
    found = []
    if here.version() != there.version():
        found.append(f"PostgreSQL {here.version()}, on staging {there.version()}")
    sizes = here.size_bytes(), there.size_bytes()
    if max(sizes) > 2 * min(sizes):
        found.append(f"database: {sizes[0] / 1e6:,.0f} MB, on staging {sizes[1] / 1e6:,.0f} MB")
    return found


def _look(what: str, look: Callable[[], str]) -> Line:
    try:
        told = look()
    except SlipwayError as error:
        return Line(what=what, ok=False, told=str(error))
    return Line(what=what, ok=bool(told), told=told or "none")


def _ready(url: str) -> str:
    try:
        answer = httpx.get(f"{url}/ready", timeout=10, trust_env=False)
    except httpx.HTTPError as error:
        raise SlipwayError(
            f"{url} does not answer: {type(error).__name__}.", expected="`make up` running.", retry_is_safe=True
        ) from None
    missing = answer.json()["missing"]
    if missing:
        raise SlipwayError(" ".join(missing), expected="Prefect and the store to answer.", retry_is_safe=True)
    return f"ready at {url}"
