"""The pages of the jobs: a job's description, the form that starts a run, its schedules and its runs."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from slipway.admin.auth.caller import CallerDep, caller_of, require_right
from slipway.admin.jobs import BACKFILL, describe
from slipway.admin.limits import take
from slipway.admin.markdown import to_html
from slipway.admin.pages import forms, live, plans, triage
from slipway.admin.pages.form_data import (
    OWN_FIELDS,
    FormData,
    field_value,
    idempotency_key,
    new_key,
    read_action_request,
    read_form,
    redirect_to,
)
from slipway.admin.pages.form_fields import Field, fields
from slipway.admin.pages.forms import EMPTY, PREFIX, FilledForm
from slipway.admin.prefect_api import Document
from slipway.admin.problems import Refusal, status_of
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page
from slipway.config.service import load_services
from slipway.core.errors import InvalidInput, SlipwayError

LIMIT = 50
CONFIRM_TAG = "confirm"  # tag of a deployment: the user must type the name of the change or service before a run starts
SWITCHES: dict[str, dict[str, bool | None]] = {
    "pause": {"paused": True, "disabled": None},
    "resume": {"paused": False, "disabled": None},
    "disable": {"paused": None, "disabled": True},
    "enable": {"paused": None, "disabled": False},
}
router = APIRouter(include_in_schema=False)


@router.get("/pages/jobs")
async def all_jobs(request: Request, container: ServicesDep) -> Response:
    """Show every job with the first line of its description."""
    return page(request, "jobs.html", jobs=await container.jobs.all())


@router.get("/pages/jobs/{job}")
async def one_job(request: Request, job: str, container: ServicesDep, caller: CallerDep) -> Response:
    """Show a job. The query string can fill in the form, for example `?p.service=shop`."""
    deployment = await container.jobs.find(job)
    runs = await container.runs(job=job, states=[*triage.NOW, *triage.ENDED], limit=LIMIT, readable=caller.readable)
    region = live.region(
        request,
        "runs_live.html",
        stale=live.stale_notice(container),
        polling=bool(triage.runs_now(runs)),
        runs=runs,
        older=urlencode({"job": job, "since": "ever"}),
    )
    if live.is_live_request(request):
        return live.respond(request, region)
    prefilled = {name.removeprefix(PREFIX): value for name, value in request.query_params.items()}
    return await _job_page(request, container, deployment, FilledForm({}, prefilled, {}), live=region.html)


@router.post("/pages/jobs/{job}")
async def start(request: Request, job: str, container: ServicesDep) -> Response:
    """Start a run from the form. For a job with the tag `confirm`, the user must type a name first."""
    deployment, form = await container.jobs.find(job), await read_form(request)
    job_fields = await _fields(request, container, deployment)
    if unknown := forms.unknown_names(job_fields, form, OWN_FIELDS):
        raise InvalidInput(
            f"The job {job} has no parameter {', '.join(unknown)[:200]}.", expected="Only the fields of the form."
        )
    filled = forms.read(job_fields, deployment["parameter_openapi_schema"], form)
    if filled.errors:
        return await _job_page(request, container, deployment, filled, status=422)
    confirmation = _confirmation_name(deployment, filled.parameters)
    try:
        if confirmation and field_value(form, "confirm") != confirmation:
            return await _confirm_page(request, container, deployment, filled, form, confirmation)
        take(request)
        run = await container.jobs.start(job, filled.parameters, idempotency_key(form, filled.parameters))
    except Refusal:
        raise
    except SlipwayError as error:
        return await _job_page(request, container, deployment, filled, status=status_of(error), fault=error)
    container.record_run(run)
    return redirect_to(request, f"/pages/runs/{run['id']}")


@router.post("/pages/jobs/{job}/switch")
async def switch(request: Request, job: str, container: ServicesDep, caller: CallerDep) -> Response:
    """Pause or resume a job's schedules, or disable or enable the job, with a reason."""
    form = await read_form(request)
    settings = SWITCHES.get(field_value(form, "do"))
    if settings is None:
        raise InvalidInput("The form has no valid value for `do`.", expected=f"`do` is one of: {', '.join(SWITCHES)}.")
    reason = read_action_request(caller, form)
    await container.jobs.switch(job, by=reason.by, why=reason.why, **settings)
    return redirect_to(request, f"/pages/jobs/{job}")


async def _job_page(
    request: Request,
    container: AdminServices,
    deployment: Document,
    filled: FilledForm = EMPTY,
    *,
    status: int = 200,
    fault: SlipwayError | None = None,
    live: Markup | None = None,
) -> Response:
    """Return the page of a job with its form. `live` is its list of runs, which is left out after a failed submission."""
    job_fields = await _fields(request, container, deployment)
    return page(
        request,
        "job.html",
        status=status,
        job=await container.jobs.one(deployment["name"]),
        card=_card(deployment),
        fields=job_fields,
        filled=filled,
        fault=fault,
        key=new_key(),
        live=live,
        needs_confirmation=CONFIRM_TAG in (deployment.get("tags") or ()),
        prefect_url=f"{container.prefect_ui}/deployments/deployment/{deployment['id']}",
    )


async def _confirm_page(
    request: Request,
    container: AdminServices,
    deployment: Document,
    filled: FilledForm,
    form: FormData,
    confirmation: str,
) -> Response:
    """Return the confirmation page: what will happen, and a field for the name. The status is 422 after a wrong name."""
    typed = field_value(form, "confirm")
    folder = None
    if "change" in filled.parameters:
        folder = await asyncio.to_thread(plans.read, container.settings.changes, str(filled.parameters["change"]))
        require_right("operate", folder.service)
    values: dict[str, Any] = {
        "job": describe(deployment),
        "card": _card(deployment),
        "filled": filled,
        "confirmation": confirmation,
        "typed": typed,
        "key": field_value(form, "key"),
        "folder": folder,
        "facts": plans.facts(folder) if folder else [],
    }
    return page(request, "confirm.html", status=422 if typed else 200, **values)


async def _fields(request: Request, container: AdminServices, deployment: Document) -> tuple[Field, ...]:
    """Return the fields of the form, with the services and changes that the caller may operate."""
    caller = caller_of(request)
    services = await asyncio.to_thread(load_services, container.settings.config)
    folders = await asyncio.to_thread(plans.folders, container.settings.changes)
    changes = [
        folder.name
        for folder in folders
        if (folder.backfill is not None) == (deployment["name"] == BACKFILL) and caller.may("operate", folder.service)
    ]
    operable = [name for name in services if caller.may("operate", name)]
    return fields(deployment["parameter_openapi_schema"], services=operable, changes=changes)


def _confirmation_name(deployment: Document, parameters: Document) -> str:
    """Return the name that the user must type before a run starts; empty if the job needs no confirmation."""
    if CONFIRM_TAG not in (deployment.get("tags") or ()):
        return ""
    return str(parameters.get("change") or parameters.get("service") or deployment["name"])


def _card(deployment: Document) -> Markup:
    return Markup(to_html(deployment.get("description") or ""))  # noqa: S704 - to_html escapes HTML in the text
