"""Check that a change fits its service; every mismatch is reported at once. Pure."""

from __future__ import annotations

from slipway.config.change import Change
from slipway.config.service import Service
from slipway.core.errors import InvalidInput
from slipway.core.frozen import ANONYMOUS


def misfits(change: Change, service: Service, *, cache_has_tags: bool) -> list[str]:
    """Return a sentence for each part that the change needs and the service does not have; empty if it fits."""
    return [
        *_foreign_routes(change, service),
        *_unknown_identities(change, service),
        *_missing_parts(change, service, cache_has_tags),
        *_foreign_revisions(change, service),
        *_useless_controls(change),
    ]


def check_fit(change: Change, service: Service, *, cache_has_tags: bool) -> None:
    """Raise InvalidInput with every mismatch between the change and its service."""
    sentences = misfits(change, service, cache_has_tags=cache_has_tags)
    if sentences:
        raise InvalidInput(
            " ".join(sentences), expected=f"A change that fits the entry of {service.name} in slipway.toml."
        )


def _foreign_routes(change: Change, service: Service) -> list[str]:
    routes = list(change.purge.routes) if change.purge else []
    for pair in change.pairs():
        routes += [pair.route, pair.control_route]
    routes += [derived.pattern for derived in change.purge.by_ids] if change.purge else []
    foreign = [route for route in dict.fromkeys(routes) if not service.has_route(route)]
    return [f"The route {route} is outside the service {service.name}." for route in foreign]


def _unknown_identities(change: Change, service: Service) -> list[str]:
    names = [name for pair in change.pairs() for name in (pair.identity, pair.control_identity)]
    known = {ANONYMOUS, *(identity.name for identity in service.identities)}
    return [f"Service {service.name} has no identity {name}." for name in dict.fromkeys(names) if name not in known]


def _missing_parts(change: Change, service: Service, cache_has_tags: bool) -> list[str]:
    sentences = []
    if change.requires_backfill and service.database is None:
        sentences.append(f"Service {service.name} has no database, so the required backfill cannot have run there.")
    if change.migrate is not None and service.migrations is None:
        sentences.append(f"Service {service.name} has no [service.migrations] in slipway.toml.")
    if change.migrate is not None and change.migrate.start == change.migrate.to:
        sentences.append(f"The migration goes from {change.migrate.start} to itself.")
    if change.purge is not None and service.cache is None:
        sentences.append(f"Service {service.name} has no cache to purge.")
    if change.purge is not None and change.purge.by_ids and service.database is None:
        sentences.append(f"Service {service.name} has no database to read ids from.")
    if change.purge is not None and change.purge.tags and service.cache is not None and not cache_has_tags:
        sentences.append(f"The cache of {service.name} cannot purge by tag.")
    return sentences


def _foreign_revisions(change: Change, service: Service) -> list[str]:
    if change.migrate is None or service.migrations is None or service.migrations.argv.prints == "revision":
        return []
    start, to = change.migrate.start, change.migrate.to
    bare = [revision for revision in (start, to) if not all(revision.partition(".")[::2])]
    sentences = [
        f"The revision {revision} names no app. Write app.name, or app.zero for the empty state." for revision in bare
    ]
    if not sentences and start.partition(".")[0] != to.partition(".")[0]:
        sentences.append(f"The migration goes from one app to another: {start} and {to}.")
    return sentences


def _useless_controls(change: Change) -> list[str]:
    return [
        f"{pair.route} as {pair.identity} is its own control."
        for pair in change.pairs()
        if (pair.route, pair.identity) == (pair.control_route, pair.control_identity)
    ]
