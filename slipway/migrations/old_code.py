"""Check that the current code of the service works with the new schema.

The old code meets the new schema between the migration and the deployment, and after a rollback of the code alone
(expand and contract).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx

from slipway.config.plan import Plan
from slipway.config.service import Service
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.finding import Finding
from slipway.core.frozen import RouteAs
from slipway.measurement.pages import get, service_client
from slipway.migrations.app_server import serving

WHY = "The current code runs with the new schema after the migration, and again if a later deployment is rolled back."


def old_code_findings(plan: Plan, copy_url: str, config_folder: Path) -> tuple[Finding, ...]:
    """Start the current code on the migrated copy, read the routes of the change, and return what differs or breaks."""
    if plan.service.serve is None:
        return (
            Finding(
                code="old-code-not-checked",
                level="info",
                summary=f"The current code of {plan.service.name} was not checked against the new schema.",
                explanation="Add [service.serve] to slipway.toml, with the command that starts the code on another database.",
            ),
        )
    try:
        with serving(plan.service, copy_url, config_folder) as started:
            return tuple(
                finding for item in smoke_routes(plan) if (finding := _compare(plan.service, started, item)) is not None
            )
    except SlipwayError as error:
        return (_broken(f"The service does not start on the migrated copy: {error.failed}"),)


def smoke_routes(plan: Plan) -> Sequence[RouteAs]:
    """Return the routes to read: the change's targets and controls, and the service's watched routes, each once."""
    measured = [RouteAs(route=target.route, identity=target.identity) for target in plan.change.measure.targets]
    controls = [RouteAs(route=pair.control_route, identity=pair.control_identity) for pair in plan.change.pairs()]
    return list(dict.fromkeys([*measured, *controls, *plan.service.probe.watch]))


def _compare(live: Service, started: Service, item: RouteAs) -> Finding | None:
    on_copy, on_live = _status(started, item), _status(live, item)
    if on_copy == on_live:
        return None
    summary = f"{item.route} as {item.identity}: {on_copy} on the migrated copy, {on_live} on the live service."
    if on_copy.startswith(("2", "3", "4")):
        return Finding(code="old-code-differs", level="warning", summary=summary, explanation=WHY)
    return _broken(summary)


def _status(service: Service, item: RouteAs) -> str:
    """Return the status code of a request, or why there is no response."""
    try:
        with service_client(service, service.identity(item.identity)) as client:
            return str(get(client, item.route, service.name).status_code)
    except Unavailable as error:
        return f"no response ({error.failed.rstrip('.')})"
    except (SlipwayError, httpx.HTTPError) as error:
        return f"no response ({error})"


def _broken(summary: str) -> Finding:
    return Finding(code="old-code-breaks", level="error", summary=summary, explanation=WHY)
