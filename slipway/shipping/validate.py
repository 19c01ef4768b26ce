"""Validate a change: every check that is possible before anything is changed."""

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
from slipway.measurement.pages import get, service_client
from slipway.migrations.tool import MigrationTool
from slipway.shipping.service_fit import check_fit

WRITTEN = (
    "record.md",
    "before-after.svg",
    "record.staging.md",
    "before-after.staging.svg",
)  # a run writes these files into the change's folder; they are not part of the change


def validate(name: str, settings: Settings, *, on_staging: bool = False) -> Plan:
    """Check the change against its service, the database and the cache, and return the plan of the run.

    Raises InvalidInput for a mistake in the files, SlipwayError for a part of the service that does not answer.
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
    """Return the plan from the files of the change and its service, without any connection. Raises InvalidInput."""
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
    """Request the first route without a wildcard, anonymously. Raises SlipwayError without an answer or for a 5xx status."""
    route = next((pattern for pattern in service.routes if "*" not in pattern), "/")
    with service_client(service, None) as client:
        response = get(client, route, service.name)
    if response.status_code >= 500:
        raise SlipwayError(
            f"Service {service.name} answers {route} with {response.status_code}.",
            expected="The service answers without a server error before a change is shipped.",
            retry_is_safe=True,
        )
    return response


def _cache_has_tags(service: Service) -> bool:
    if service.cache is None:
        return False
    kind = KINDS.get(resolve(service.cache.kind))
    return kind is not None and "tag" in kind.abilities


def _check_database(change: Change, service: Service, settings: Settings) -> tuple[str, tuple[CommandRun, ...]]:
    assert change.migrate is not None  # the caller checks this
    assert service.database is not None  # check_fit checks this
    start, to = change.migrate.start, change.migrate.to
    live = live_database(service, settings.config.parent)
    live.check()
    clone_database(service, live)
    tool = MigrationTool(service, resolve(service.database.url), settings.config.parent)
    revision = tool.current(to)
    if revision != start:
        raise InvalidInput(
            f"The database of {service.name} is at revision {revision}, not at {start}.",
            expected=f"The database is at revision {start}, where this change starts.",
        )
    return tool.sql(start, to), tuple(tool.commands)
