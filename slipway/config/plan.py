"""A validated change with its service: what every later step of a run works from."""

from __future__ import annotations

from typing import Protocol

from slipway.config.change import Change, ChangeName
from slipway.config.service import Service
from slipway.core.commands import CommandRun
from slipway.core.frozen import FrozenModel


class OnService(Protocol):
    """What a run is about to do on one service: enough to hold it by."""

    @property
    def name(self) -> str:
        """The folder below changes/."""

    @property
    def service(self) -> Service:
        """The service that is held."""


def roll_back_command(name: str, on_staging: bool) -> str:
    """What a person types to get back to where a change began."""
    return f"slipway rollback {name}{' --staging' if on_staging else ''}"


class PurgePlan(FrozenModel):
    """Exactly what a change takes out of the cache, known before anything is done.

    `routes` are those that it names and those of its ids; `tagged` those of the service's known pages that carry one of
    the tags now. What else carries a tag only the cache knows.
    """

    routes: tuple[str, ...]
    tags: tuple[str, ...] = ()
    tagged: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`/orders, /products/7; tag orders (of the known pages: /).`"""
        told = [", ".join(self.routes)] if self.routes else []
        if self.tags:
            told.append(f"tag {', '.join(self.tags)} (of the known pages: {', '.join(self.tagged) or 'none'})")
        return f"{'; '.join(told) or 'nothing'}."


class Plan(FrozenModel):
    """A validated change with the service it is for, frozen for the rest of the run."""

    name: ChangeName
    digest: str
    change: Change
    service: Service
    commit: str  # the commit that the files came from, or ""
    files: tuple[str, ...]  # files touched, from git
    migration_sql: str
    commands: tuple[CommandRun, ...] = ()
    leaving: PurgePlan | None = None  # None where the change purges nothing, and before it was validated
    on_staging: bool = False  # the service is the staging of the one that the change names

    @property
    def way_back(self) -> str:
        """The command by which a person gets back to where the change began."""
        return roll_back_command(self.name, self.on_staging)
