"""Doctor: check everything that a run needs. Doctor changes nothing."""

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


class Check(FrozenModel):
    """The result of one check."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Check]:
    """Return the result of every check. Never raises."""
    return [
        _run_check("services", lambda: ", ".join(load_services(settings.config))),
        _run_check("changes", lambda: ", ".join(sorted(p.parent.name for p in settings.changes.glob("*/change.toml")))),
        _run_check("PostgreSQL tools", lambda: client_tools().name),
        *_databases(settings),
        _run_check("admin service", lambda: _ready(admin_url(settings))),
        *_stagings(settings),
    ]


def _stagings(settings: Settings) -> list[Check]:
    """Compare each service that has a staging service with it."""
    try:
        services = load_services(settings.config)
    except SlipwayError:
        return []  # the check "services" reports this error
    return [
        _run_check(
            f"staging of {service.name}", partial(_staging, service, services[service.staging.service], settings)
        )
        for service in services.values()
        if service.staging is not None
    ]


def _staging(service: Service, staging: Service, settings: Settings) -> str:
    differing = "; ".join([*differences(service, staging), *_other_database(service, staging, settings)])
    if not same_commands(service, staging):
        raise SlipwayError(
            f"{staging.name} proves nothing for {service.name}, because its migration commands differ. {differing}",
            expected="The same migration commands in both entries.",
            retry_is_safe=True,
        )
    return f"{staging.name}: {differing or 'no relevant difference'}"


def _other_database(service: Service, staging: Service, settings: Settings) -> list[str]:
    """Return how the databases differ. Raises `SlipwayError` if both are the same database, or one cannot be read."""
    if service.database is None or staging.database is None:
        return [] if service.database is staging.database else ["only one of the two services has a database"]
    if not (is_set(service.database.url) and is_set(staging.database.url)):
        return ["their databases were not compared, because their URLs are set only on the worker"]
    here, there = (live_database(entry, settings.config.parent) for entry in (service, staging))
    if here.is_same(there):
        raise SlipwayError(
            f"{staging.name} uses the same database as {service.name}.",
            expected="A staging service with a database of its own.",
            retry_is_safe=True,
        )
    differing = [f"{_kind(here)}, on staging {_kind(there)}"] if _kind(here) != _kind(there) else []
    sizes = here.size_bytes(), there.size_bytes()
    if max(sizes) > 2 * min(sizes):
        differing.append(f"database: {sizes[0] / 1e6:,.0f} MB, on staging {sizes[1] / 1e6:,.0f} MB")
    return differing


def _kind(database: Database) -> str:
    name = type(database).__name__
    return f"{name} {database.version()}" if isinstance(database, PostgreSQL) else name


def _databases(settings: Settings) -> list[Check]:
    """Check the database of each service with migrations. The check "services" reports an unreadable file."""
    try:
        services = load_services(settings.config).values()
    except SlipwayError:
        return []
    return [
        _run_check(f"database of {service.name}", partial(_check_database, service, settings))
        for service in services
        if service.migrations is not None
    ]


def _check_database(service: Service, settings: Settings) -> str:
    assert service.database is not None  # a service with migrations has a database
    if not is_set(service.database.url):
        return f"not checked: {service.database.url.description} is set only on the worker"
    live = live_database(service, settings.config.parent)
    live.check()
    if service.database.clone is None or is_set(service.database.clone):
        clone_database(service, live)
    return live.name


def _run_check(name: str, check: Callable[[], str]) -> Check:
    try:
        detail = check()
    except SlipwayError as error:
        return Check(name=name, ok=False, detail=str(error))
    return Check(name=name, ok=bool(detail), detail=detail or "none")


def _ready(url: str) -> str:
    try:
        response = httpx.get(f"{url}/ready", timeout=10, trust_env=False)
    except httpx.HTTPError as error:
        raise SlipwayError(
            f"{url} does not answer: {type(error).__name__}.",
            expected="A running admin service. Start it with `make up`.",
            retry_is_safe=True,
        ) from None
    missing = response.json()["missing"]
    if missing:
        raise SlipwayError(" ".join(missing), expected="Prefect and the store answer.", retry_is_safe=True)
    return f"ready at {url}"
