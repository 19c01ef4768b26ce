"""A change to ship. Its file is `changes/<name>/change.toml`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from slipway.config.audit_codes import AuditCode
from slipway.core.errors import InvalidInput
from slipway.core.frozen import ROUTE, Expression, FrozenModel, Revision, Route, RouteAs, ServiceName, Tag
from slipway.core.toml_files import parse, read_toml

NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
ChangeName = Annotated[str, Field(pattern=NAME, description="name of the folder below changes/")]
OnStaging = Annotated[bool, Field(description="run on the staging service of the change's service")]
Sentence = Annotated[str, Field(min_length=3, max_length=2_000)]


class Pair(BaseModel):
    """A target and its control, which the change cannot affect. Each is a route as one identity sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str
    identity: str
    control_route: str
    control_identity: str


class Migrate(FrozenModel):
    """The start and target revision of a migration. The database must be at revision `from`."""

    start: Revision = Field(alias="from")
    to: Revision


class RoutesByIds(FrozenModel):
    """A route for each id that a query returns from the live database before the change: `/products/{id}`."""

    pattern: Annotated[str, Field(max_length=500)]
    ids: Expression

    @field_validator("pattern")
    @classmethod
    def _one_place(cls, pattern: str) -> str:
        if (
            pattern.count("{id}") != 1
            or not re.fullmatch(ROUTE, pattern)
            or set("{}*") & set(pattern.replace("{id}", ""))
        ):
            raise ValueError("must be a route that contains {id} exactly once")
        return pattern

    def route(self, row_id: str) -> str:
        """Return the route of one id."""
        return self.pattern.replace("{id}", row_id)


class Purge(FrozenModel):
    """What to purge from the cache: these routes and tags, and the routes of the ids that the change affects."""

    routes: tuple[Route, ...] = ()
    tags: tuple[Tag, ...] = ()
    by_ids: tuple[RoutesByIds, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Purge:
        if not (self.routes or self.tags or self.by_ids):
            raise ValueError("set at least one of routes, tags and by_ids, or leave out [purge]")
        return self


class Rehearse(FrozenModel):
    """Settings of the rehearsal: the queries to compare, and the codes of findings that the owner accepts."""

    queries: tuple[Sentence, ...] = ()
    accept: tuple[Annotated[str, Field(pattern=NAME)], ...] = ()


class Target(RouteAs):
    """A route whose latency the change may affect; `control` overrides the change's control for this target."""

    control: RouteAs | None = None


class Measure(FrozenModel):
    """The routes to measure: the targets, and a control that the change cannot affect, on the same path through the cache."""

    targets: tuple[Target, ...] = Field(min_length=1)
    control: RouteAs | None = None

    @model_validator(mode="after")
    def _controlled(self) -> Measure:
        missing = [target.route for target in self.targets if target.control is None and self.control is None]
        if missing:
            raise ValueError(f"the control is missing for {', '.join(missing)}")
        return self


class Judge(FrozenModel):
    """The required verdict, and what happens without it. An inconclusive verdict never keeps a change."""

    require: Literal["improved", "not-regressed"] = "not-regressed"
    margin: float = Field(default=0.10, ge=0.01, le=1)
    on_regressed: Literal["roll back", "freeze"] = "roll back"
    on_inconclusive: Literal["roll back", "freeze"] = "freeze"


class Change(FrozenModel):
    """One change: its owner, reason, expected effect and rollback, and what to migrate, purge, measure and judge."""

    service: ServiceName
    owner: Sentence
    reason: Sentence
    expected: Sentence
    rollback: Sentence
    approval: Literal["none", "required"] = "none"
    approval_within_h: float = Field(default=24, gt=0, le=24 * 30)
    requires_backfill: tuple[ChangeName, ...] = ()
    audit: tuple[AuditCode, ...] = ()  # audit items of the service that must pass before the change starts
    migrate: Migrate | None = None
    rehearse: Rehearse = Rehearse()
    purge: Purge | None = None
    measure: Measure
    judge: Judge = Judge()

    def pairs(self) -> tuple[Pair, ...]:
        """Return each target with its control, in the order of the file."""
        pairs = []
        for target in self.measure.targets:
            control = target.control or self.measure.control
            assert control is not None  # Measure checks this
            pairs.append(
                Pair(
                    route=target.route,
                    identity=target.identity,
                    control_route=control.route,
                    control_identity=control.identity,
                )
            )
        return tuple(pairs)


def load_change(directory: Path, name: str) -> tuple[Change, str]:
    """Load the change and the SHA-256 digest of its file. Raises InvalidInput for a bad name or an invalid file."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            f"{name!r} is not a valid name of a change.", expected="Lower-case letters, digits and hyphens."
        )
    path = directory / name / "change.toml"
    if not path.is_file():
        known = sorted(file.parent.name for file in directory.glob("*/change.toml"))
        raise InvalidInput(f"There is no change {name!r}.", expected=f"One of: {', '.join(known) or '(none yet)'}.")
    change = parse(Change, read_toml(path), where=f"{name}/change.toml")
    return change, hashlib.sha256(path.read_bytes()).hexdigest()
