"""Slipway's settings, read from the environment into one frozen object, and references to environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from slipway.core.errors import InvalidInput


class EnvironmentReference(BaseModel):
    """`{ env = "NAME" }` in a file: the value is in the environment variable NAME, never in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")

    @property
    def description(self) -> str:
        """Return the name of the target, for messages."""
        return f"the environment variable {self.env}"


class PrefectSecret(BaseModel):
    """`{ secret = "name" }` in a file: the value is in the Prefect Secret block of this name, which only runs can read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")

    @property
    def description(self) -> str:
        """Return the name of the target, for messages."""
        return f"the Prefect Secret {self.secret}"


def _kind(written: Any) -> str | None:
    """Return the kind of reference, from a dictionary in a file or from a model."""
    keys = written if isinstance(written, dict) else getattr(written, "__dict__", {})
    return next((name for name in ("env", "secret") if name in keys), None)


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
    """Make `resolve` read Prefect Secrets with `lookup`; this package does not import Prefect."""
    _lookups[:] = [lookup]


def resolve(reference: Reference, environment: Mapping[str, str] | None = None) -> str:
    """Return the value of a reference. Raises InvalidInput with the name of the variable or Secret, never a value."""
    if isinstance(reference, str):
        return reference
    if isinstance(reference, PrefectSecret):
        if not _lookups:
            raise InvalidInput(
                f"Only a run can read the Prefect Secret {reference.secret}.", expected="A job that reads the Secret."
            )
        return _lookups[0](reference.secret)
    value = (os.environ if environment is None else environment).get(reference.env, "")
    if not value:
        raise InvalidInput(
            f"The environment variable {reference.env} is not set.",
            expected=f"{reference.env} is set where the job runs, because slipway.toml refers to it.",
        )
    return value


def is_set(reference: Hidden) -> bool:
    """Return whether the environment variable is set here. On a machine that runs only a client, it need not be set."""
    return isinstance(reference, EnvironmentReference) and bool(os.environ.get(reference.env))


class Settings(BaseModel):
    """Paths and addresses of this installation. The environment variable SLIPWAY_<FIELD> sets each field."""

    model_config = ConfigDict(frozen=True)

    config: Path = Path("slipway.toml")
    changes: Path = Path("changes")
    database_url: str = ""  # URL of Slipway's own store, as SQLAlchemy takes it, with the driver
    admin_url: str = ""
    prefect_ui_url: str = ""  # URL of Prefect's pages for users; empty: derived from PREFECT_API_URL
    home: Path = Path(".slipway")
    token: str = Field(default="", repr=False)  # the token that the command `slipway` sends to the admin service
    hosts: str = "127.0.0.1,localhost"  # the names that the admin service answers to
    trusted_proxy: str = ""  # addresses or networks of a proxy that signs users in; empty: no proxy
    proxy_user: str = "X-Forwarded-Email"  # the proxy's header with the user's name
    proxy_groups: str = ""  # the proxy's header with the user's groups; empty: accounts decide
    proxy_roles: str = ""  # the roles of the groups: "sre=admin,shop-team=operator:shop+shop-live"
    triggers_per_minute: int = Field(default=600, ge=1)  # per caller of the admin service; also the size of a burst

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the SLIPWAY_* variables. A variable that is not set leaves the default."""
        source = os.environ if environment is None else environment
        names = {field: source.get(f"SLIPWAY_{field.upper()}") for field in cls.model_fields}
        return cls.model_validate({field: value for field, value in names.items() if value})
