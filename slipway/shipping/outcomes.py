"""The return values of the steps of a shipment that belong to no other capability."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel

DecisionWord = Literal["keep", "roll back", "freeze", "reject"]


class Staged(FrozenModel):
    """The run that kept the change on the staging service, and the later run that rolled it back there."""

    service: str
    kept_by: str
    kept_at: datetime
    rolled_back_by: str
    rolled_back_at: datetime


class Inspection(FrozenModel):
    """The findings about the cache headers and the privacy of the routes of a change."""

    findings: tuple[Finding, ...]


class Approval(FrozenModel):
    """A person's decision after the rehearsal: approved or rejected, by whom, and why."""

    approved: bool
    by: str
    why: str


class Failure(FrozenModel):
    """A failure after the migration started; `for_a_person` is true if the state of the service is unknown."""

    words: str
    for_a_person: bool


class Decision(FrozenModel):
    """The decision about a change, and its reason."""

    word: DecisionWord
    reason: str


class Record(FrozenModel):
    """The record of a run as Markdown, its chart as SVG, and the path of its file."""

    markdown: str
    picture_svg: str = ""
    path: str
