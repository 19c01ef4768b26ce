"""Which service a run or a change belongs to; what decides whether a caller may see it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from admin.problems import NotFound
from slipway.backfill import load_backfill
from slipway.change import load_change
from slipway.errors import InvalidInput


async def service_of_run(doors: Any, run_id: str) -> str | None:
    """The service of a run. Raises NotFound."""
    try:
        wanted = UUID(run_id)
    except ValueError:
        raise NotFound(f"There is no run {run_id}.", expected="The id of a run, as GET /runs lists them.") from None
    return service_of(await doors.detail(wanted))


def service_of(run: dict[str, Any]) -> str | None:
    """The service of a run as Prefect tells it, or as a list shows it; None when it belongs to none."""
    tagged = next((tag.removeprefix("service:") for tag in run.get("tags") or [] if tag.startswith("service:")), None)
    asked = (run.get("parameters") or {}).get("service")  # a run that a schedule has planned has no tags yet
    return tagged or run.get("service") or (asked if isinstance(asked, str) else None)


async def service_of_change(doors: Any, name: str) -> str | None:
    """The service of a change or a backfill. Raises NotFound."""
    for load in (load_change, load_backfill):
        try:
            found: Any
            found, _ = await asyncio.to_thread(load, doors.settings.changes, name)
        except InvalidInput:
            continue
        return str(found.service)
    raise NotFound(f"There is no change {name!r}.", expected="The name of a folder below changes/.")
