"""Whether a change fits its service: pure, every misfit named at once. Pure."""

from __future__ import annotations

from slipway.config.change import Change
from slipway.config.service import Service
from slipway.core.errors import InvalidInput
from slipway.core.frozen import ANONYMOUS


def misfits(change: Change, service: Service, *, cache_has_tags: bool) -> list[str]:
    """Sentences about what the change asks for and the service does not have; empty when it fits."""
    return [
        *_foreign_routes(change, service),
        *_unknown_identities(change, service),
        *_missing_parts(change, service, cache_has_tags),
        *_foreign_revisions(change, service),
        *_useless_controls(change),
    ]


def check_fit(change: Change, service: Service, *, cache_has_tags: bool) -> None:
    """Raise InvalidInput that lists every misfit."""
    found = misfits(change, service, cache_has_tags=cache_has_tags)
    if found:
        raise InvalidInput(" ".join(found), expected=f"A change that fits the entry of {service.name} in slipway.toml.")


def _foreign_routes(change: Change, service: Service) -> list[str]:
    named = list(change.purge.routes) if change.purge else []
    for pair in change.pairs():
        named += [pair.route, pair.control_route]
    named += [derived.pattern for derived in change.purge.by_ids] if change.purge else []
    foreign = [route for route in dict.fromkeys(named) if not service.has_route(route)]
    return [f"The route {route} is outside the service {service.name}." for route in foreign]


def _unknown_identities(change: Change, service: Service) -> list[str]:
    named = [name for pair in change.pairs() for name in (pair.identity, pair.control_identity)]
    known = {ANONYMOUS, *(identity.name for identity in service.identities)}
    return [f"Service {service.name} has no identity {name}." for name in dict.fromkeys(named) if name not in known]


def _missing_parts(change: Change, service: Service, cache_has_tags: bool) -> list[str]:
    found = []
    if change.requires_backfill and service.database is None:
        found.append(f"Service {service.name} has no database in which a backfill could have finished.")
    if change.migrate is not None and service.migrations is None:
        found.append(f"Service {service.name} does not say how it migrates.")
    if change.migrate is not None and change.migrate.start == change.migrate.to:
        found.append(f"The migration goes from {change.migrate.start} to itself.")
    if change.purge is not None and service.cache is None:
        found.append(f"Service {service.name} has no cache to purge.")
    if change.purge is not None and change.purge.by_ids and service.database is None:
        found.append(f"Service {service.name} has no database to read ids from.")
    if change.purge is not None and change.purge.tags and service.cache is not None and not cache_has_tags:
        found.append(f"The cache of {service.name} cannot purge by tag.")
    return found


def _foreign_revisions(change: Change, service: Service) -> list[str]:
    if change.migrate is None or service.migrations is None or service.migrations.argv.prints == "revision":
        return []
    start, to = change.migrate.start, change.migrate.to
    bare = [revision for revision in (start, to) if not all(revision.partition(".")[::2])]
    found = [f"The revision {revision} names no app; it is app.name, or app.zero for none." for revision in bare]
    if not found and start.partition(".")[0] != to.partition(".")[0]:
        found.append(f"The migration goes from one app to another: {start} and {to}.")
    return found


def _useless_controls(change: Change) -> list[str]:
    return [
        f"{pair.route} as {pair.identity} is its own control."
        for pair in change.pairs()
        if (pair.route, pair.identity) == (pair.control_route, pair.control_identity)
    ]
