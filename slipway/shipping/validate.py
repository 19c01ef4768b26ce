"""Validate: everything that can be known before anything is touched."""

from __future__ import annotations

import httpx

from slipway.backfilling.backfill import require_finished
from slipway.caching.purge_plan import purge_plan_of
from slipway.caching.purgers import KINDS, purger_of
from slipway.config.change import Change, load_change
from slipway.config.git import commit_of, files_of
from slipway.config.plan import Plan
from slipway.config.service import Service, load_service
from slipway.core.commands import CommandRun
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import Settings, resolve
from slipway.databases.opening import clone_database, live_database
from slipway.measurement.pages import get, visitor
from slipway.migrations.tool import MigrationTool
from slipway.shipping.service_fit import check_fit

WRITTEN = (
    "record.md",
    "before-after.svg",
    "record.staging.md",
    "before-after.staging.svg",
)  # what a run writes beside the change is not part of it


def validate(name: str, settings: Settings, *, on_staging: bool = False) -> Plan:
    """Read the change, hold it against its service, the database and the cache; the answer is the plan of the run.

    Raises InvalidInput for what is written wrong, SlipwayError for a part of the service that does not answer.
    """
    plan = read_plan(name, settings, on_staging=on_staging)
    require_finished(plan.change.requires_backfill, plan.service, settings)
    check_answers(plan.service)
    if plan.change.purge is not None:
        with purger_of(plan.service) as purger:
            purger.check()
        plan = plan.model_copy(update={"leaving": purge_plan_of(plan, settings.config.parent)})
    if plan.change.migrate is None:
        return plan
    sql, commands = _check_database(plan.change, plan.service, settings)
    return plan.model_copy(update={"migration_sql": sql, "commands": commands})


def read_plan(name: str, settings: Settings, *, on_staging: bool = False) -> Plan:
    """The change and its service as they stand in their files, held against each other; nothing is connected to."""
    change, digest = load_change(settings.changes, name)
    service = load_service(settings.config, change.service, on_staging=on_staging)
    check_fit(change, service, cache_has_tags=_cache_has_tags(service))
    folder = settings.changes / name
    files = tuple(file for file in files_of(folder) if not file.split(" ")[0].endswith(WRITTEN))
    return Plan(
        name=name,
        digest=digest,
        change=change,
        service=service,
        commit=commit_of(folder),
        files=files,
        migration_sql="",
        on_staging=on_staging,
    )


def check_answers(service: Service) -> httpx.Response:
    """One anonymous request to the first plain route. Raises SlipwayError when the service does not answer or is ill."""
    route = next((pattern for pattern in service.routes if "*" not in pattern), "/")
    with visitor(service, None) as client:
        answer = get(client, route, service.name)
    if answer.status_code >= 500:
        raise SlipwayError(
            f"Service {service.name} answers {route} with {answer.status_code}.",
            expected="A healthy service before a change.",
            retry_is_safe=True,
        )
    return answer


def _cache_has_tags(service: Service) -> bool:
    if service.cache is None:
        return False
    kind = KINDS.get(resolve(service.cache.kind))
    return kind is not None and "tag" in kind.abilities


def _check_database(change: Change, service: Service, settings: Settings) -> tuple[str, tuple[CommandRun, ...]]:
    assert change.migrate is not None  # held by the caller
    assert service.database is not None  # held by check_fit
    start, to = change.migrate.start, change.migrate.to
    live = live_database(service, settings.config.parent)
    live.check()
    clone_database(service, live)
    tool = MigrationTool(service, resolve(service.database.url), settings.config.parent)
    stands = tool.current(to)
    if stands != start:
        raise InvalidInput(
            f"The database of {service.name} is at {stands}, not at {start}.",
            expected=f"A database at {start}, from where this change migrates.",
        )
    return tool.sql(start, to), tuple(tool.ran)
