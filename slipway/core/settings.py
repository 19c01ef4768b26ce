"""Where Slipway finds things: one frozen object read from the environment, and references into the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from slipway.core.errors import InvalidInput


class EnvironmentReference(BaseModel):
    """`{ env = "NAME" }` in a file: the value stands in the environment variable NAME, never in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")

    @property
    def words(self) -> str:
        """What it points to, for people."""
        return f"the environment variable {self.env}"


class PrefectSecret(BaseModel):
    """`{ secret = "name" }` in a file: the value stands in Prefect's Secret block of that name, which only runs read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")

    @property
    def words(self) -> str:
        """What it points to, for people."""
        return f"the Prefect Secret {self.secret}"


def _kind(written: Any) -> str | None:
    """Which reference somebody has written, or a model is."""
    given = written if isinstance(written, dict) else getattr(written, "__dict__", {})
    return next((name for name in ("env", "secret") if name in given), None)


Hidden = Annotated[
    Annotated[EnvironmentReference, Tag("env")] | Annotated[PrefectSecret, Tag("secret")],
    Discriminator(
        _kind,
        custom_error_type="reference",
        custom_error_message='input should be a reference: { env = "NAME" } or { secret = "name" }',
    ),
]
Reference = str | Hidden
_lookups: list[Callable[[str], str]] = []


def look_up_secrets_by(lookup: Callable[[str], str]) -> None:
    """Let `resolve` read Prefect Secrets by `lookup`; this package by itself knows no Prefect."""
    _lookups[:] = [lookup]


def resolve(reference: Reference, environment: Mapping[str, str] | None = None) -> str:
    """The value that a reference points to. Raises InvalidInput naming the variable or the Secret (never a value)."""
    if isinstance(reference, str):
        return reference
    if isinstance(reference, PrefectSecret):
        if not _lookups:
            raise InvalidInput(
                f"The Prefect Secret {reference.secret} can only be read by a run.", expected="A job that reads it."
            )
        return _lookups[0](reference.secret)
    value = (os.environ if environment is None else environment).get(reference.env, "")
    if not value:
        raise InvalidInput(
            f"The environment variable {reference.env} is not set.",
            expected=f"{reference.env} set where the job runs, as slipway.toml names it.",
        )
    return value


def is_set(reference: Hidden) -> bool:
    """Whether its value is to be had here; where only a client runs, it need not be."""
    return isinstance(reference, EnvironmentReference) and bool(os.environ.get(reference.env))


class Settings(BaseModel):
    """Paths and addresses of this installation; every field has the environment variable SLIPWAY_<FIELD>."""

    model_config = ConfigDict(frozen=True)

    config: Path = Path("slipway.toml")
    changes: Path = Path("changes")
    database_url: str = ""  # Slipway's own store, SQLAlchemy form with the driver
    admin_url: str = ""
    prefect_ui_url: str = ""  # where people open Prefect's pages; without it PREFECT_API_URL tells
    home: Path = Path(".slipway")
    token: str = Field(default="", repr=False)  # what the command `slipway` shows at the admin service
    hosts: str = "127.0.0.1,localhost"  # the names that the admin service answers to
    trusted_proxy: str = ""  # addresses or networks of a proxy that signs people in; empty: there is none
    proxy_user: str = "X-Forwarded-Email"  # the header in which it names the person
    proxy_groups: str = ""  # the header in which it names their groups; empty: accounts decide
    proxy_roles: str = ""  # what a group may: "sre=admin,shop-team=operator:shop+shop-live"
    triggers_per_minute: int = Field(default=600, ge=1)  # of one caller of the admin service, and so many at once

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read SLIPWAY_* variables; what is not set keeps its default."""
        source = os.environ if environment is None else environment
        names = {field: source.get(f"SLIPWAY_{field.upper()}") for field in cls.model_fields}
        return cls.model_validate({field: value for field, value in names.items() if value})
