"""A finding: one thing noticed while looking at a service or a change."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["info", "warning", "error"]


class Finding(BaseModel):
    """One thing noticed: a stable code, how bad it is, one line, and why it matters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    level: Level
    summary: str
    explanation: str
