"""A finding: one observation about a service or a change."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["info", "warning", "error"]


class Finding(BaseModel):
    """One observation: a stable code, a level, a summary of one line, and why it matters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    level: Level
    summary: str
    explanation: str
