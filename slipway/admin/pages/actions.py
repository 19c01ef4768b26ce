"""What a person can do to a run, each on a page of its own that says what will happen before it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from fastapi import APIRouter, Request, Response

from slipway.admin import actions
from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.limits import take
from slipway.admin.pages.buttons import ALL, ROLL_BACK, Action, named, to_type
from slipway.admin.pages.form_data import Posted, go_to, key_of, new_key, one, posted, said
from slipway.admin.prefect_api import Document
from slipway.admin.problems import Conflict, Refusal, status_of
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page
from slipway.core.errors import InvalidInput, SlipwayError

WITHOUT_A_REASON = ("retry", "rollback")  # they start a run, which tells its own story
Handler = Callable[..., Awaitable[Response]]
router = APIRouter(include_in_schema=False)


def _asking(name: str) -> Handler:
    async def ask(request: Request, run_id: UUID, container: ServicesDep) -> Response:
        run = await container.detail(run_id)
        return _page(request, run, _possible(run, name), {})

    return ask


def _doing(name: str) -> Handler:
    async def do(request: Request, run_id: UUID, container: ServicesDep, caller: CallerDep) -> Response:
        run, fields = await container.detail(run_id), await posted(request)
        action = _possible(run, name)
        try:
            _see_name(run, action, fields)
            after = await _act(request, caller, container, run, name, fields)
        except Refusal:
            raise
        except SlipwayError as error:
            return _page(request, run, action, fields, error)
        return go_to(request, f"/pages/runs/{after}")

    return do


for _name in ALL:
    router.add_api_route(f"/pages/runs/{{run_id}}/{_name}", _asking(_name), methods=["GET"], name=f"ask {_name}")
    router.add_api_route(f"/pages/runs/{{run_id}}/{_name}", _doing(_name), methods=["POST"], name=_name)


def _possible(run: Document, name: str) -> Action:
    """The action, if it makes sense now. Raises Conflict."""
    action = named(run, name)
    if action is None:
        raise Conflict(
            f"Run {run['id']} cannot do that now: it is {run['state']['name']}.",
            expected="One of the buttons on its page; somebody may have been quicker.",
        )
    return action


def _see_name(run: Document, action: Action, fields: Posted) -> None:
    """Refuse a danger whose name was not typed. Raises InvalidInput."""
    if action.danger and one(fields, "confirm") != to_type(run):
        raise InvalidInput("The name that was typed is another one.", expected=f"{to_type(run)}, letter by letter.")


async def _act(
    request: Request, caller: Caller, container: AdminServices, run: Document, name: str, fields: Posted
) -> str:
    """Do it; the id of the run to look at then."""
    run_id = UUID(run["id"])
    if name in WITHOUT_A_REASON:
        return await _start(request, container, run, name, fields)
    says, fresh = said(caller, fields), await container.run(run_id)
    if name in ("approve", "reject"):
        await actions.answer(container.prefect, fresh, says, approved=name == "approve")
    elif name == "cancel":
        await actions.cancel(container.prefect, container.attempts, fresh, says)
    elif name == "pause":
        await actions.pause(container.attempts, fresh, run["job"], says)
    else:
        await actions.resume(container.attempts, fresh)
    await container.run(run_id)  # so that the page shows it at once
    return str(run_id)


async def _start(request: Request, container: AdminServices, run: Document, name: str, fields: Posted) -> str:
    """A new run: of the same job, or of the job that rolls back."""
    take(request)
    job, parameters = run["job"], run["parameters"]
    if name == "retry":
        actions.check_retry(run)
    if name == "rollback":
        job, parameters = ROLL_BACK, {"change": parameters["change"], "staging": bool(parameters.get("staging"))}
    started = await container.jobs.start(job, parameters, key_of(fields, {**parameters, "of": run["id"]}))
    container.saw(started)
    return str(started["id"])


def _page(
    request: Request, run: Document, action: Action, fields: Posted, fault: SlipwayError | None = None
) -> Response:
    """What will happen, and the form; what was typed stays."""
    return page(
        request,
        "act.html",
        status=status_of(fault) if fault else 200,
        run=run,
        action=action,
        asked=to_type(run) if action.danger else "",
        reason=action.name not in WITHOUT_A_REASON,
        fields={name: one(fields, name) for name in ("why", "confirm")},
        key=one(fields, "key") or new_key(),
        fault=fault,
    )
