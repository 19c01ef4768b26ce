"""How a staging service differs from the one that it stands for, in what matters to a change. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.config.service import Service
from slipway.shipping.staging_rules import as_written


def differences(service: Service, staging: Service) -> list[str]:
    """What a change would meet differently on staging, a sentence each; empty when nothing differs.

    Addresses and secrets differ always, and so they say nothing.
    """
    return [
        *_commands(service, staging),
        *_lists("routes", service.routes, staging.routes),
        *_lists("identities", _identities(service), _identities(staging)),
        *_values(service, staging),
    ]


def same_commands(service: Service, staging: Service) -> bool:
    """Whether both migrate by the same commands: without that, staging proves nothing, and a change is refused."""
    return not _commands(service, staging)


def _commands(service: Service, staging: Service) -> list[str]:
    here, there = _argv(service), _argv(staging)
    return [
        f"{purpose}: `{' '.join(here.get(purpose, ['nothing']))}`, on staging `{' '.join(there.get(purpose, ['nothing']))}`"
        for purpose in sorted({*here, *there})
        if here.get(purpose) != there.get(purpose)
    ]


def _argv(service: Service) -> Mapping[str, list[str]]:
    return {} if service.migrations is None else as_written(service.migrations.argv)


def _identities(service: Service) -> tuple[str, ...]:
    return tuple(identity.name for identity in service.identities)


def _lists(what: str, here: tuple[str, ...], there: tuple[str, ...]) -> list[str]:
    missing, more = sorted(set(here) - set(there)), sorted(set(there) - set(here))
    found = [f"{what} that staging lacks: {', '.join(missing)}"] if missing else []
    return found + ([f"{what} that only staging has: {', '.join(more)}"] if more else [])


def _values(service: Service, staging: Service) -> list[str]:
    here, there = _facts(service), _facts(staging)
    return [f"{what}: {here[what]}, on staging {there[what]}" for what in here if here[what] != there[what]]


def _facts(service: Service) -> dict[str, str]:
    migrations, cache, probe = service.migrations, service.cache, service.probe
    return {
        "lock time-out": f"{migrations.lock_timeout_s:g} s" if migrations else "none",
        "tries for a lock": f"{migrations.tries}" if migrations else "none",
        "cache": "none"
        if cache is None
        else cache.kind
        if isinstance(cache.kind, str)
        else f"what {cache.kind.words} says",
        "rate of a measurement": f"{probe.rate:g} requests/s",
        "size of a measurement": f"{probe.bursts} × {probe.requests} requests",
        "its code on a copy": "started" if service.serve else "not started",
    }
