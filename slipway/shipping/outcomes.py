"""What the steps of a run that ships a change return, but for those of other capabilities."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel

DecisionWord = Literal["keep", "roll back", "freeze", "reject"]


class Staged(FrozenModel):
    """The run that kept the change on the staging service, and the later one that rolled it back there."""

    service: str
    kept_by: str
    kept_at: datetime
    rolled_back_by: str
    rolled_back_at: datetime


class Inspection(FrozenModel):
    """The findings about the cache headers and the privacy of the routes of a change."""

    findings: tuple[Finding, ...]


class Approval(FrozenModel):
    """What a person said of a change after its rehearsal."""

    approved: bool
    by: str
    why: str


class Failure(FrozenModel):
    """What went wrong after the migration had begun; `for_a_person` when no rule can know where the service stands."""

    words: str
    for_a_person: bool


class Decision(FrozenModel):
    """What becomes of the change, and why in words."""

    word: DecisionWord
    reason: str


class Record(FrozenModel):
    """The final note of a run, as Markdown, and its picture."""

    markdown: str
    picture_svg: str = ""
    path: str
