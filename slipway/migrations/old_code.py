"""The code that runs now against the schema that comes: whoever migrates before deploying needs both to fit.

(Expand and contract: between the migration and the deployment, and after a roll back of the code alone, the old code
meets the new schema.)
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
from slipway.measurement.pages import get, visitor
from slipway.migrations.app_server import serving

WHY = "The code that runs now will meet the new schema: after the migration, and after a deployment that is taken back."


def old_code_findings(plan: Plan, copy_url: str, config_folder: Path) -> tuple[Finding, ...]:
    """Start the service as it is on the migrated copy and read the routes of the change; what breaks there is an error."""
    if plan.service.serve is None:
        return (
            Finding(
                code="old-code-not-checked",
                level="info",
                summary=f"Whether the code of {plan.service.name} works with the new schema was not checked.",
                explanation="Its entry has no [service.serve] that says how it starts on another database.",
            ),
        )
    try:
        with serving(plan.service, copy_url, config_folder) as started:
            return tuple(
                finding for item in smoke_routes(plan) if (finding := _look(plan.service, started, item)) is not None
            )
    except SlipwayError as error:
        return (_broken(f"The service does not start on the migrated copy: {error.failed}"),)


def smoke_routes(plan: Plan) -> Sequence[RouteAs]:
    """What is read: targets and controls of the change and the routes that the service watches, each once."""
    measured = [RouteAs(route=target.route, identity=target.identity) for target in plan.change.measure.targets]
    controls = [RouteAs(route=pair.control_route, identity=pair.control_identity) for pair in plan.change.pairs()]
    return list(dict.fromkeys([*measured, *controls, *plan.service.probe.watch]))


def _look(live: Service, started: Service, item: RouteAs) -> Finding | None:
    then, now = _status(started, item), _status(live, item)
    if then == now:
        return None
    told = f"{item.route} as {item.identity} answers {then} on the migrated copy and {now} on the live service."
    if then.startswith(("2", "3", "4")):
        return Finding(code="old-code-differs", level="warning", summary=told, explanation=WHY)
    return _broken(told)


def _status(service: Service, item: RouteAs) -> str:
    """The status of a read, or why there is none."""
    try:
        with visitor(service, service.identity(item.identity)) as client:
            return str(get(client, item.route, service.name).status_code)
    except Unavailable as error:
        return f"nothing ({error.failed.rstrip('.')})"
    except (SlipwayError, httpx.HTTPError) as error:
        return f"nothing ({error})"


def _broken(told: str) -> Finding:
    return Finding(code="old-code-breaks", level="error", summary=told, explanation=WHY)
