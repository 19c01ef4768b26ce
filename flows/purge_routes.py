"""Purge routes and tags of a service and prove it by reading."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from slipway.core.frozen import Route, ServiceName, Tag
from slipway.flows.card import card
from slipway.flows.service_hold import while_wanted
from slipway.tasks.purge import purge_routes as purge
from slipway.tasks.service import read_service_to_purge

CARD = card(
    "Purges named routes and tags from a service's cache, twice, and verifies by reading; nothing else leaves the cache.",
    owner="the owner of the service",
    expected="The first read of each route is a miss, the second a hit, and the controls are still hits.",
    rollback="Nothing to undo: the next visitor fills the cache again.",
)


@flow(name="purge-routes", flow_run_name="purge-routes {service}", description=CARD)
def purge_routes(
    service: ServiceName,
    routes: Annotated[list[Route], Field(max_length=1_000)] = [],  # noqa: B006 - a schema's default, never changed
    tags: Annotated[list[Tag], Field(max_length=256)] = [],  # noqa: B006
) -> State[str]:
    """Hold routes and tags against the service's entry, purge, read.

    Args:
        service: an entry of slipway.toml
        routes: paths on the service, as /products
        tags: every page that carries one of them
    """

    def work() -> State[str]:
        purged = purge(read_service_to_purge(service, routes, tags), routes, tags)
        return Completed(message=f"{len(purged.affected)} routes read after the purge", data="purged")

    return while_wanted(work, "Some of the routes may have left the cache; the next visitor fills it again.")
