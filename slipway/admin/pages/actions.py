"""The actions on a run. Each action has a confirmation page that says what will happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from fastapi import APIRouter, Request, Response

from slipway.admin import actions
from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.limits import take
from slipway.admin.pages.buttons import ALL, ROLL_BACK, Action, confirmation_name, find_action
from slipway.admin.pages.form_data import (
    FormData,
    field_value,
    idempotency_key,
    new_key,
    read_action_request,
    read_form,
    redirect_to,
)
from slipway.admin.prefect_api import Document
from slipway.admin.problems import Conflict, Refusal, status_of
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page
from slipway.core.errors import InvalidInput, SlipwayError

WITHOUT_A_REASON = ("retry", "rollback")  # these start a new run, which has its own record
Handler = Callable[..., Awaitable[Response]]
router = APIRouter(include_in_schema=False)


def _confirmation_page(name: str) -> Handler:
    async def show(request: Request, run_id: UUID, container: ServicesDep) -> Response:
        run = await container.detail(run_id)
        return _page(request, run, _require_action(run, name), {})

    return show


def _submission(name: str) -> Handler:
    async def submit(request: Request, run_id: UUID, container: ServicesDep, caller: CallerDep) -> Response:
        run, fields = await container.detail(run_id), await read_form(request)
        action = _require_action(run, name)
        try:
            _check_confirmation(run, action, fields)
            shown_id = await _act(request, caller, container, run, name, fields)
        except Refusal:
            raise
        except SlipwayError as error:
            return _page(request, run, action, fields, error)
        return redirect_to(request, f"/pages/runs/{shown_id}")

    return submit


for _name in ALL:
    router.add_api_route(
        f"/pages/runs/{{run_id}}/{_name}", _confirmation_page(_name), methods=["GET"], name=f"ask {_name}"
    )
    router.add_api_route(f"/pages/runs/{{run_id}}/{_name}", _submission(_name), methods=["POST"], name=_name)


def _require_action(run: Document, name: str) -> Action:
    """Return the action. Raises Conflict if the run does not allow it in its current state."""
    action = find_action(run, name)
    if action is None:
        raise Conflict(
            f"Run {run['id']} does not allow this action: its state is {run['state']['name']}.",
            expected="An action that the page of the run offers. Another user may have acted first: reload the page.",
        )
    return action


def _check_confirmation(run: Document, action: Action, fields: FormData) -> None:
    """Raise InvalidInput if a dangerous action was not confirmed by typing the name."""
    if action.danger and field_value(fields, "confirm") != confirmation_name(run):
        raise InvalidInput(
            "The name that you typed does not match.", expected=f"Type {confirmation_name(run)} exactly as shown."
        )


async def _act(
    request: Request, caller: Caller, container: AdminServices, run: Document, name: str, fields: FormData
) -> str:
    """Carry out the action and return the id of the run to show next."""
    run_id = UUID(run["id"])
    if name in WITHOUT_A_REASON:
        return await _start(request, container, run, name, fields)
    reason, current = read_action_request(caller, fields), await container.run(run_id)
    if name in ("approve", "reject"):
        await actions.answer(container.prefect, current, reason, approved=name == "approve")
    elif name == "cancel":
        await actions.cancel(container.prefect, container.attempts, current, reason)
    elif name == "pause":
        await actions.pause(container.attempts, current, run["job"], reason)
    else:
        await actions.resume(container.attempts, current)
    await container.run(run_id)  # refreshes the read model, so that the page shows the new state at once
    return str(run_id)


async def _start(request: Request, container: AdminServices, run: Document, name: str, fields: FormData) -> str:
    """Start a run of the same job, or of the job that rolls back, and return its id."""
    take(request)
    job, parameters = run["job"], run["parameters"]
    if name == "retry":
        actions.check_retry(run)
    if name == "rollback":
        job, parameters = ROLL_BACK, {"change": parameters["change"], "staging": bool(parameters.get("staging"))}
    started = await container.jobs.start(job, parameters, idempotency_key(fields, {**parameters, "of": run["id"]}))
    container.record_run(started)
    return str(started["id"])


def _page(
    request: Request, run: Document, action: Action, fields: FormData, fault: SlipwayError | None = None
) -> Response:
    """Return the confirmation page: what will happen, and the form with the values typed so far."""
    return page(
        request,
        "act.html",
        status=status_of(fault) if fault else 200,
        run=run,
        action=action,
        confirmation=confirmation_name(run) if action.danger else "",
        needs_reason=action.name not in WITHOUT_A_REASON,
        fields={name: field_value(fields, name) for name in ("why", "confirm")},
        key=field_value(fields, "key") or new_key(),
        fault=fault,
    )
