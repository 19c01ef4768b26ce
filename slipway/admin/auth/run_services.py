"""Which service a run or a change belongs to, and who asked for it: what decides whether a caller may see or approve it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from slipway.admin.problems import NotFound
from slipway.config.backfill import load_backfill
from slipway.config.change import load_change
from slipway.core.errors import InvalidInput


async def service_of_run(container: Any, run_id: str) -> str | None:
    """The service of a run. Raises NotFound."""
    return service_of(await container.detail(_uuid(run_id)))


async def who_asked_for(container: Any, run_id: str) -> str | None:
    """Who asked for a run; None for one that a schedule or Prefect itself started. Raises NotFound."""
    asked: str | None = (await container.detail(_uuid(run_id)))["asked_by"]
    return asked


def _uuid(written: str) -> UUID:
    try:
        return UUID(written)
    except ValueError:
        raise NotFound(f"There is no run {written}.", expected="The id of a run, as GET /runs lists them.") from None


def service_of(run: dict[str, Any]) -> str | None:
    """The service of a run as Prefect tells it, or as a list shows it; None when it belongs to none."""
    tagged = next((tag.removeprefix("service:") for tag in run.get("tags") or [] if tag.startswith("service:")), None)
    asked = (run.get("parameters") or {}).get("service")  # a run that a schedule has planned has no tags yet
    return tagged or run.get("service") or (asked if isinstance(asked, str) else None)


async def service_of_change(container: Any, name: str) -> str | None:
    """The service of a change or a backfill. Raises NotFound."""
    for load in (load_change, load_backfill):
        try:
            found: Any
            found, _ = await asyncio.to_thread(load, container.settings.changes, name)
        except InvalidInput:
            continue
        return str(found.service)
    raise NotFound(f"There is no change {name!r}.", expected="The name of a folder below changes/.")
