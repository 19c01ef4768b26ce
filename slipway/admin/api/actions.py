"""The routes for actions on a run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from slipway.admin import actions, schemas
from slipway.admin.actions import ActionRequestDep
from slipway.admin.api.jobs import STARTED, IdempotencyKey, started
from slipway.admin.limits import Limited
from slipway.admin.problems import Conflict
from slipway.admin.runs import summary
from slipway.admin.services import ServicesDep

router = APIRouter(tags=["runs"], responses=schemas.ACTING)
STARTING = {**schemas.STARTING, **STARTED}


@router.post("/runs/{run_id}/rollback", status_code=202, response_model=schemas.RunLine, responses=STARTING)
async def roll_back(
    run_id: UUID,
    container: ServicesDep,
    request: Request,
    response: Response,
    limited: Limited,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Roll back the change that a run shipped: start a run of roll-back-change."""
    shipped = (await container.run(run_id))["parameters"]
    if not shipped.get("change"):
        raise Conflict(f"Run {run_id} shipped no change.", expected="A run of ship-change.")
    parameters = {"change": shipped["change"], "staging": bool(shipped.get("staging"))}
    return await started(container, "roll-back-change", parameters, idempotency_key, request, response)


@router.post("/runs/{run_id}/retry", status_code=202, response_model=schemas.RunLine, responses=STARTING)
async def retry(
    run_id: UUID,
    container: ServicesDep,
    request: Request,
    response: Response,
    limited: Limited,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Start the same job with the same parameters again. The run must have ended and be safe to retry."""
    await container.run(run_id)
    run = await container.detail(run_id)
    actions.check_retry(run)
    return await started(container, str(run["job"]), run["parameters"], idempotency_key, request, response)


@router.post("/runs/{run_id}/cancel", status_code=202, response_model=schemas.RunLine)
async def cancel(run_id: UUID, action: ActionRequestDep, container: ServicesDep) -> Any:
    """Cancel a run. Before the migration, the run stops; after the migration, it rolls back."""
    await actions.cancel(container.prefect, container.attempts, await container.run(run_id), action)
    return summary(await container.run(run_id), await container.names())


@router.post("/runs/{run_id}/approve", status_code=202, response_model=schemas.RunLine)
async def approve(run_id: UUID, action: ActionRequestDep, container: ServicesDep) -> Any:
    """Approve a change that waits for approval after its rehearsal."""
    await actions.answer(container.prefect, await container.run(run_id), action, approved=True)
    return summary(await container.run(run_id), await container.names())


@router.post("/runs/{run_id}/reject", status_code=202, response_model=schemas.RunLine)
async def reject(run_id: UUID, action: ActionRequestDep, container: ServicesDep) -> Any:
    """Reject a change that waits for approval; nothing is changed."""
    await actions.answer(container.prefect, await container.run(run_id), action, approved=False)
    return summary(await container.run(run_id), await container.names())


@router.post("/runs/{run_id}/pause", status_code=202, response_model=schemas.RunLine)
async def pause(run_id: UUID, action: ActionRequestDep, container: ServicesDep) -> Any:
    """Pause a backfill. Finished batches stay, and the run keeps the service lock."""
    line = summary(await container.run(run_id), await container.names())
    await actions.pause(container.attempts, line, line["job"], action)
    return line


@router.post("/runs/{run_id}/resume", status_code=202, response_model=schemas.RunLine)
async def resume(run_id: UUID, action: ActionRequestDep, container: ServicesDep) -> Any:
    """Continue a paused backfill."""
    run = await container.run(run_id)
    await actions.resume(container.attempts, run)
    return summary(run, await container.names())
