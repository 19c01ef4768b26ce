"""Doctor: what a run needs, looked at one by one. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx

from slipway.client.http import admin_url
from slipway.config.service import Service, load_services
from slipway.core.errors import SlipwayError
from slipway.core.frozen import FrozenModel
from slipway.core.settings import Settings, is_set
from slipway.databases.database import Database
from slipway.databases.opening import clone_database, live_database
from slipway.databases.postgresql.database import PostgreSQL, client_tools
from slipway.shipping.staging_differences import differences, same_commands


class Line(FrozenModel):
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
        *_databases(settings),
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
        _look(f"staging of {service.name}", partial(_staging, service, services[service.staging.service], settings))
        for service in services.values()
        if service.staging is not None
    ]


def _staging(service: Service, staging: Service, settings: Settings) -> str:
    told = "; ".join([*differences(service, staging), *_other_database(service, staging, settings)])
    if not same_commands(service, staging):
        raise SlipwayError(
            f"{staging.name} proves nothing for {service.name}, as it migrates by other commands. {told}",
            expected="The same commands in both entries.",
            retry_is_safe=True,
        )
    return f"{staging.name}: {told or 'no difference that matters'}"


def _other_database(service: Service, staging: Service, settings: Settings) -> list[str]:
    """How the databases differ. Raises SlipwayError when both are the same one, or one cannot be read."""
    if service.database is None or staging.database is None:
        return [] if service.database is staging.database else ["only one of them has a database"]
    if not (is_set(service.database.url) and is_set(staging.database.url)):
        return ["their databases were not looked at, as their addresses are set only where the jobs run"]
    here, there = (live_database(each, settings.config.parent) for each in (service, staging))
    if here.is_same(there):
        raise SlipwayError(
            f"{staging.name} has the database of {service.name} itself.",
            expected="A staging service with a database of its own.",
            retry_is_safe=True,
        )
    found = [f"{_kind(here)}, on staging {_kind(there)}"] if _kind(here) != _kind(there) else []
    sizes = here.size_bytes(), there.size_bytes()
    if max(sizes) > 2 * min(sizes):
        found.append(f"database: {sizes[0] / 1e6:,.0f} MB, on staging {sizes[1] / 1e6:,.0f} MB")
    return found


def _kind(database: Database) -> str:
    name = type(database).__name__
    return f"{name} {database.version()}" if isinstance(database, PostgreSQL) else name


def _databases(settings: Settings) -> list[Line]:
    """A line for each service that migrates; a file that cannot be read has a line of its own already."""
    try:
        services = load_services(settings.config).values()
    except SlipwayError:
        return []
    return [
        _look(f"database of {service.name}", partial(_usable, service, settings))
        for service in services
        if service.migrations is not None
    ]


def _usable(service: Service, settings: Settings) -> str:
    assert service.database is not None  # a service that migrates has one
    if not is_set(service.database.url):
        return f"not looked at: {service.database.url.words} is known only where the jobs run"
    live = live_database(service, settings.config.parent)
    live.check()
    if service.database.clone is None or is_set(service.database.clone):
        clone_database(service, live)
    return live.name


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
