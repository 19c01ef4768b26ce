"""The shop's settings, read from environment variables."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The settings of a running shop."""

    database_url: str
    session_secret: str
    release: str


def read_settings() -> Settings:
    """Read the settings. Raises RuntimeError that names a missing variable."""
    return Settings(
        database_url=require_variable("DATABASE_URL"),
        session_secret=require_variable("SHOP_SESSION_SECRET"),
        release=os.environ.get("SHOP_RELEASE", "dev"),
    )


def require_variable(name: str) -> str:
    """Return an environment variable. Raises RuntimeError if it is missing or empty."""
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f"The environment variable {name} is not set.")
    return value
