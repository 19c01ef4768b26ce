"""Purge routes and tags of a service, and verify the purge by reading the pages."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from slipway.core.frozen import Route, ServiceName, Tag
from slipway.flows.card import card
from slipway.flows.service_hold import run_cancellable
from slipway.tasks.purge import purge_routes as purge
from slipway.tasks.service import read_service_to_purge

CARD = card(
    "Purges the given routes and tags from a service's cache, twice, and verifies by reading. Other pages stay cached.",
    owner="the owner of the service",
    expected="The first read of each route is a miss, the second is a hit, and the controls are still hits.",
    rollback="Nothing to undo: the next visitor fills the cache again.",
)


@flow(name="purge-routes", flow_run_name="purge-routes {service}", description=CARD)
def purge_routes(
    service: ServiceName,
    routes: Annotated[list[Route], Field(max_length=1_000)] = [],  # noqa: B006 - the default of a schema, never modified
    tags: Annotated[list[Tag], Field(max_length=256)] = [],  # noqa: B006
) -> State[str]:
    """Check the routes and tags against the service's entry, purge them, and read the pages.

    Args:
        service: an entry of slipway.toml
        routes: paths on the service, such as /products
        tags: cache tags; every page with one of these tags is purged
    """

    def work() -> State[str]:
        purged = purge(read_service_to_purge(service, routes, tags), routes, tags)
        return Completed(message=f"{len(purged.affected)} routes read after the purge", data="purged")

    return run_cancellable(work, "Some routes may already be purged; the next visitor fills the cache again.")
