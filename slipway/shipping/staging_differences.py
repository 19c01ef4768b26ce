"""Compare a staging service with its production service, in the parts that matter to a change. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.config.service import Service
from slipway.shipping.staging_rules import as_written


def differences(service: Service, staging: Service) -> list[str]:
    """Return a line for each difference that matters to a change; empty if nothing differs.

    Addresses and secrets always differ, so they are not compared.
    """
    return [
        *_commands(service, staging),
        *_lists("routes", service.routes, staging.routes),
        *_lists("identities", _identities(service), _identities(staging)),
        *_values(service, staging),
    ]


def same_commands(service: Service, staging: Service) -> bool:
    """Return whether both services migrate with the same commands. If not, staging proves nothing, and Slipway refuses."""
    return not _commands(service, staging)


def _commands(service: Service, staging: Service) -> list[str]:
    here, there = _argv(service), _argv(staging)
    return [
        f"{purpose}: `{' '.join(here.get(purpose, ['(no command)']))}`, "
        f"on staging `{' '.join(there.get(purpose, ['(no command)']))}`"
        for purpose in sorted({*here, *there})
        if here.get(purpose) != there.get(purpose)
    ]


def _argv(service: Service) -> Mapping[str, list[str]]:
    return {} if service.migrations is None else as_written(service.migrations.argv)


def _identities(service: Service) -> tuple[str, ...]:
    return tuple(identity.name for identity in service.identities)


def _lists(name: str, production: tuple[str, ...], staging: tuple[str, ...]) -> list[str]:
    missing, extra = sorted(set(production) - set(staging)), sorted(set(staging) - set(production))
    lines = [f"{name} missing on staging: {', '.join(missing)}"] if missing else []
    return lines + ([f"{name} only on staging: {', '.join(extra)}"] if extra else [])


def _values(service: Service, staging: Service) -> list[str]:
    ours, theirs = _settings(service), _settings(staging)
    return [f"{name}: {ours[name]}, on staging {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def _settings(service: Service) -> dict[str, str]:
    migrations, cache, probe = service.migrations, service.cache, service.probe
    return {
        "lock timeout": f"{migrations.lock_timeout_s:g} s" if migrations else "none",
        "attempts to get a lock": f"{migrations.tries}" if migrations else "none",
        "cache": "none"
        if cache is None
        else cache.kind
        if isinstance(cache.kind, str)
        else f"set by {cache.kind.description}",
        "measurement rate": f"{probe.rate:g} requests/s",
        "measurement size": f"{probe.bursts} × {probe.requests} requests",
        "current code on the copy": "started" if service.serve else "not started",
    }
