"""The automations that Slipway wants in Prefect, installed by `make deploy`; safe to repeat."""

from __future__ import annotations

from typing import Any

import httpx

from slipway.core.errors import Unavailable

NAME = "slipway: mark runs of a lost host as crashed"
SILENT_FOR_S = 45  # flows send a heartbeat every 30 s (PREFECT_FLOWS_HEARTBEAT_FREQUENCY)

# Any event of the run ends the wait: a later heartbeat, but also its end or its suspension, whatever state they name.
LOST_HOST: dict[str, Any] = {
    "name": NAME,
    "description": "A run whose heartbeats stop has lost its host. A worker of its pool resumes what has crashed.",
    "enabled": True,
    "trigger": {
        "type": "event",
        "posture": "Proactive",
        "after": ["prefect.flow-run.heartbeat"],
        "expect": ["prefect.flow-run.*"],
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": SILENT_FOR_S,
    },
    "actions": [
        {"type": "change-flow-run-state", "state": "CRASHED", "name": "Crashed", "message": "Its heartbeats stopped."}
    ],
}


def install(api: str) -> None:
    """Make the automation, or bring one of its name up to date. Raises Unavailable."""
    try:
        with httpx.Client(base_url=api, timeout=30, trust_env=False) as client:
            wanted = {"automations": {"name": {"any_": [NAME]}}}
            found = client.post("/automations/filter", json=wanted).raise_for_status().json()
            if found:
                client.put(f"/automations/{found[0]['id']}", json=LOST_HOST).raise_for_status()
            else:
                client.post("/automations/", json=LOST_HOST).raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Prefect did not take the automation: {type(error).__name__}.", expected="A Prefect server."
        ) from None
