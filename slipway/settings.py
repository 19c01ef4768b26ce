"""Where Slipway finds things: one frozen object read from the environment, and references into the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from slipway.errors import InvalidInput


class EnvironmentReference(BaseModel):
    """`{ env = "NAME" }` in a file: the value stands in the environment variable NAME, never in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")


Reference = str | EnvironmentReference


def resolve(reference: Reference, environment: Mapping[str, str] | None = None) -> str:
    """The value that a reference points to. Raises InvalidInput naming the variable (never a value)."""
    if isinstance(reference, str):
        return reference
    value = (os.environ if environment is None else environment).get(reference.env, "")
    if not value:
        raise InvalidInput(
            f"The environment variable {reference.env} is not set.",
            expected=f"{reference.env} set where the job runs, as slipway.toml names it.",
        )
    return value


def is_set(reference: EnvironmentReference) -> bool:
    """Whether the variable has a value here; where only a client runs, it need not."""
    return bool(os.environ.get(reference.env))


class Settings(BaseModel):
    """Paths and addresses of this installation; every field has the environment variable SLIPWAY_<FIELD>."""

    model_config = ConfigDict(frozen=True)

    config: Path = Path("slipway.toml")
    changes: Path = Path("changes")
    database_url: str = ""  # Slipway's own store, SQLAlchemy form with the driver
    admin_url: str = ""
    home: Path = Path(".slipway")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read SLIPWAY_* variables; what is not set keeps its default."""
        source = os.environ if environment is None else environment
        names = {field: source.get(f"SLIPWAY_{field.upper()}") for field in cls.model_fields}
        return cls.model_validate({field: value for field, value in names.items() if value})
