"""Slipway's automations in Prefect. `make deploy` installs them; it is safe to repeat."""

from __future__ import annotations

from typing import Any

import httpx

from slipway.core.errors import Unavailable

NAME = "slipway: mark runs of a lost host as crashed"
SILENT_FOR_S = 45  # flows send a heartbeat every 30 s (PREFECT_FLOWS_HEARTBEAT_FREQUENCY)

# Any later event of the run resets the timer: a heartbeat, its end, or its suspension.
LOST_HOST: dict[str, Any] = {
    "name": NAME,
    "description": "A run whose heartbeats stop has lost its host. A worker of its pool resumes the crashed run.",
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
        {
            "type": "change-flow-run-state",
            "state": "CRASHED",
            "name": "Crashed",
            "message": "The run's heartbeats stopped.",
        }
    ],
}


def install(api: str) -> None:
    """Create the automation, or update the one with the same name. Raises Unavailable."""
    try:
        with httpx.Client(base_url=api, timeout=30, trust_env=False) as client:
            query = {"automations": {"name": {"any_": [NAME]}}}
            automations = client.post("/automations/filter", json=query).raise_for_status().json()
            if automations:
                client.put(f"/automations/{automations[0]['id']}", json=LOST_HOST).raise_for_status()
            else:
                client.post("/automations/", json=LOST_HOST).raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Could not install the automation in Prefect: {type(error).__name__}.",
            expected="A Prefect server answers at PREFECT_API_URL.",
        ) from None
