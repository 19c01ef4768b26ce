"""A job: its card, the form that starts it, its schedules, its runs."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from slipway.admin.auth.caller import CallerDep, caller_of, demand
from slipway.admin.jobs import BACKFILL, describe
from slipway.admin.limits import take
from slipway.admin.markdown import to_html
from slipway.admin.pages import forms, live, plans, triage
from slipway.admin.pages.form_data import OWN, Posted, go_to, key_of, new_key, one, posted, said
from slipway.admin.pages.form_fields import Field, fields
from slipway.admin.pages.forms import EMPTY, PREFIX, Filled
from slipway.admin.prefect_api import Document
from slipway.admin.problems import Refusal, status_of
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page
from slipway.config.service import load_services
from slipway.core.errors import InvalidInput, SlipwayError

LIMIT = 50
CONFIRM_TAG = "confirm"  # of a deployment: the name of what it acts on is asked for before it is started
SWITCHES: dict[str, dict[str, bool | None]] = {
    "pause": {"paused": True, "disabled": None},
    "go on": {"paused": False, "disabled": None},
    "disable": {"paused": None, "disabled": True},
    "enable": {"paused": None, "disabled": False},
}
router = APIRouter(include_in_schema=False)


@router.get("/pages/jobs")
async def all_jobs(request: Request, container: ServicesDep) -> Response:
    """Every job with the first words of its card."""
    return page(request, "jobs.html", jobs=await container.jobs.all())


@router.get("/pages/jobs/{job}")
async def one_job(request: Request, job: str, container: ServicesDep, caller: CallerDep) -> Response:
    """A job; the form may be filled in by the address, as `?p.service=shop`."""
    found = await container.jobs.find(job)
    runs = await container.runs(job=job, states=[*triage.NOW, *triage.ENDED], limit=LIMIT, readable=caller.readable)
    region = live.region(
        request,
        "runs_live.html",
        stale=live.stale(container),
        moves=bool(triage.runs_now(runs)),
        runs=runs,
        older=urlencode({"job": job, "since": "ever"}),
    )
    if live.is_asked(request):
        return live.answer(request, region)
    asked = {name.removeprefix(PREFIX): value for name, value in request.query_params.items()}
    return await _drawn(request, container, found, Filled({}, asked, {}), live=region.html)


@router.post("/pages/jobs/{job}")
async def start(request: Request, job: str, container: ServicesDep) -> Response:
    """Start a run from the form; what a job with the tag `confirm` acts on has to be named first."""
    found, sent = await container.jobs.find(job), await posted(request)
    known = await _fields(request, container, found)
    if strangers := forms.unknown(known, sent, OWN):
        raise InvalidInput(f"The job {job} takes no {', '.join(strangers)[:200]}.", expected="The fields of its form.")
    filled = forms.read(known, found["parameter_openapi_schema"], sent)
    if filled.errors:
        return await _drawn(request, container, found, filled, status=422)
    asked = _name_to_type(found, filled.parameters)
    try:
        if asked and one(sent, "confirm") != asked:
            return await _confirm(request, container, found, filled, sent, asked)
        take(request)
        run = await container.jobs.start(job, filled.parameters, key_of(sent, filled.parameters))
    except Refusal:
        raise
    except SlipwayError as error:
        return await _drawn(request, container, found, filled, status=status_of(error), fault=error)
    container.saw(run)
    return go_to(request, f"/pages/runs/{run['id']}")


@router.post("/pages/jobs/{job}/switch")
async def switch(request: Request, job: str, container: ServicesDep, caller: CallerDep) -> Response:
    """Switch a job's schedules off or on, or the whole job, with a reason."""
    sent = await posted(request)
    what = SWITCHES.get(one(sent, "do"))
    if what is None:
        raise InvalidInput("The form does not say what to switch.", expected=f"One of: {', '.join(SWITCHES)}.")
    says = said(caller, sent)
    await container.jobs.switch(job, by=says.by, why=says.why, **what)
    return go_to(request, f"/pages/jobs/{job}")


async def _drawn(
    request: Request,
    container: AdminServices,
    found: Document,
    filled: Filled = EMPTY,
    *,
    status: int = 200,
    fault: SlipwayError | None = None,
    live: Markup | None = None,
) -> Response:
    """The page of a job with its form; its runs are left out where the form came back."""
    known = await _fields(request, container, found)
    return page(
        request,
        "job.html",
        status=status,
        job=await container.jobs.one(found["name"]),
        card=_card(found),
        fields=known,
        filled=filled,
        fault=fault,
        key=new_key(),
        live=live,
        confirms=CONFIRM_TAG in (found.get("tags") or ()),
        in_prefect=f"{container.prefect_ui}/deployments/deployment/{found['id']}",
    )


async def _confirm(
    request: Request, container: AdminServices, found: Document, filled: Filled, sent: Posted, asked: str
) -> Response:
    """What will happen, and a field for the name; refused (422) when another name was typed."""
    tried = one(sent, "confirm")
    folder = None
    if "change" in filled.parameters:
        folder = await asyncio.to_thread(plans.read, container.settings.changes, str(filled.parameters["change"]))
        demand("operate", folder.service)
    values: dict[str, Any] = {
        "job": describe(found),
        "card": _card(found),
        "filled": filled,
        "asked": asked,
        "tried": tried,
        "key": one(sent, "key"),
        "folder": folder,
        "facts": plans.facts(folder) if folder else [],
    }
    return page(request, "confirm.html", status=422 if tried else 200, **values)


async def _fields(request: Request, container: AdminServices, found: Document) -> tuple[Field, ...]:
    """The fields of the form, with the services and the changes that who asks may do something to."""
    caller = caller_of(request)
    services = await asyncio.to_thread(load_services, container.settings.config)
    folders = await asyncio.to_thread(plans.folders, container.settings.changes)
    changes = [
        each.name
        for each in folders
        if (each.backfill is not None) == (found["name"] == BACKFILL) and caller.may("operate", each.service)
    ]
    own = [name for name in services if caller.may("operate", name)]
    return fields(found["parameter_openapi_schema"], services=own, changes=changes)


def _name_to_type(found: Document, parameters: Document) -> str:
    """The name that has to be typed before a job is started; empty for one that asks for none."""
    if CONFIRM_TAG not in (found.get("tags") or ()):
        return ""
    return str(parameters.get("change") or parameters.get("service") or found["name"])


def _card(found: Document) -> Markup:
    return Markup(to_html(found.get("description") or ""))  # noqa: S704 - to_html lets no HTML of a text pass
