"""The environment variables of the stack's processes, and the stack's secrets, which exist only there."""

from __future__ import annotations

import json
import os
import secrets as randomness
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL

from slipway.deployments import shop
from slipway.deployments.ports import HOST
from slipway.deployments.postgres import url_on

STORE, PREFECT = "slipway", "slipway_prefect"  # databases
SECRETS = ("postgres", "purge", "session", "customer", "shop")


def read_secrets(file: Path) -> dict[str, str]:
    """Return the stack's secrets. Missing ones are generated at random and saved; only this user can read the file."""
    secrets: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    missing = {name: randomness.token_urlsafe(24) for name in SECRETS if name not in secrets}
    if missing:
        secrets |= missing
        draft = file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(secrets), encoding="utf-8")
        draft.replace(file)
    return secrets


def slipway_environment(
    server: URL, *, home: Path, changes: Path, config: Path, ports: Mapping[str, int], secrets: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of Slipway's processes: Prefect's settings, Slipway's own, and the references of slipway.toml."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SLIPWAY_"))}
    prefect = f"http://{HOST}:{ports['prefect']}/api"
    return inherited | {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": prefect,
        "PREFECT_SERVER_UI_API_URL": prefect,
        "PREFECT_API_DATABASE_CONNECTION_URL": url_on(server, PREFECT, "postgresql+asyncpg"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "0.2"),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "slipway",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # the worker's own log lines belong to no run
        "SLIPWAY_HOME": str(home),
        "SLIPWAY_CONFIG": str(config),
        "SLIPWAY_CHANGES": str(changes),
        "SLIPWAY_DATABASE_URL": url_on(server, STORE),
        "SLIPWAY_ADMIN_URL": f"http://{HOST}:{ports['admin']}",
        "SHOP_URL": f"http://{HOST}:{ports['shop']}",
        "SHOP_CACHE": shop.cache_kind(),
        "SHOP_DATABASE_URL": url_on(server, shop.DATABASE),
        "SHOP_PURGE_TOKEN": secrets["purge"],
        "SHOP_SESSION_SECRET": secrets["session"],
        "SHOP_CUSTOMER_PASSWORD": secrets["customer"],
    }
