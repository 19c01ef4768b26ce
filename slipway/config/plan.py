"""A validated change with its service: the input of every later step of a run."""

from __future__ import annotations

from typing import Protocol

from slipway.config.change import Change, ChangeName
from slipway.config.service import Service
from slipway.core.commands import CommandRun
from slipway.core.frozen import FrozenModel


class OnService(Protocol):
    """The plan of a run on one service, as far as the service lock needs it."""

    @property
    def name(self) -> str:
        """The name of the folder below changes/."""

    @property
    def service(self) -> Service:
        """The service to lock."""


def roll_back_command(name: str, on_staging: bool) -> str:
    """Return the command that a user types to roll a change back."""
    return f"slipway rollback {name}{' --staging' if on_staging else ''}"


class PurgePlan(FrozenModel):
    """What a change purges from the cache, determined before the change starts.

    `routes` are the routes that the change names, and the routes of its ids. `tagged` are the known pages of the service
    that have one of the tags now. Only the cache knows which other pages have a tag.
    """

    routes: tuple[str, ...]
    tags: tuple[str, ...] = ()
    tagged: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`/orders, /products/7; tag orders (known pages: /).`"""
        parts = [", ".join(self.routes)] if self.routes else []
        if self.tags:
            parts.append(f"tag {', '.join(self.tags)} (known pages: {', '.join(self.tagged) or 'none'})")
        return f"{'; '.join(parts) or 'nothing'}."


class Plan(FrozenModel):
    """A validated change with its service, frozen for the rest of the run."""

    name: ChangeName
    digest: str
    change: Change
    service: Service
    commit: str  # the commit that the files came from, or ""
    files: tuple[str, ...]  # files touched, from git
    migration_sql: str
    commands: tuple[CommandRun, ...] = ()
    leaving: PurgePlan | None = None  # None if the change purges nothing, and before validation
    on_staging: bool = False  # the service is the staging service of the change's service

    @property
    def rollback_command(self) -> str:
        """The command that a user types to roll this change back."""
        return roll_back_command(self.name, self.on_staging)
