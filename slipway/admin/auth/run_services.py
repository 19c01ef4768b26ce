"""The service and the requester of a run or change. They decide whether a caller may see or approve it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from slipway.admin.problems import NotFound
from slipway.config.backfill import load_backfill
from slipway.config.change import load_change
from slipway.core.errors import InvalidInput


async def service_of_run(container: Any, run_id: str) -> str | None:
    """Return the service of a run. Raises `NotFound`."""
    return service_of(await container.detail(_uuid(run_id)))


async def requester_of(container: Any, run_id: str) -> str | None:
    """Return the person who requested a run; None if a schedule or Prefect itself started it. Raises `NotFound`."""
    requester: str | None = (await container.detail(_uuid(run_id)))["asked_by"]
    return requester


def _uuid(run_id: str) -> UUID:
    try:
        return UUID(run_id)
    except ValueError:
        raise NotFound(f"There is no run {run_id}.", expected="The id of a run that GET /runs lists.") from None


def service_of(run: dict[str, Any]) -> str | None:
    """Return the service of a run from Prefect or from the run list; None if the run belongs to no service."""
    tagged = next((tag.removeprefix("service:") for tag in run.get("tags") or [] if tag.startswith("service:")), None)
    parameter = (run.get("parameters") or {}).get("service")  # scheduled runs do not have tags yet
    return tagged or run.get("service") or (parameter if isinstance(parameter, str) else None)


async def service_of_change(container: Any, name: str) -> str | None:
    """Return the service of a change or a backfill. Raises `NotFound`."""
    for load in (load_change, load_backfill):
        try:
            folder: Any
            folder, _ = await asyncio.to_thread(load, container.settings.changes, name)
        except InvalidInput:
            continue
        return str(folder.service)
    raise NotFound(f"There is no change {name!r}.", expected="The name of a folder in changes/.")
