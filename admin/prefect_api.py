"""Prefect's REST API, as much of it as the admin service needs. Every failure is `Unavailable`, and nothing hangs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

from slipway.errors import Unavailable

TIMEOUT_S = 10.0
JOB_TAG = "job"
Document = dict[str, Any]


class Prefect:
    """One Prefect server."""

    def __init__(self, api_url: str) -> None:
        self._client = httpx.AsyncClient(base_url=api_url, timeout=TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ready(self) -> bool:
        """Whether the server and its database answer."""
        return (await self._send("GET", "/ready")).status_code == 200

    async def jobs(self) -> list[Document]:
        """The deployments that are tagged as jobs."""
        answer = await self._send("POST", "/deployments/filter", {"deployments": {"tags": {"all_": [JOB_TAG]}}})
        found: list[Document] = answer.json()
        return sorted(found, key=lambda job: str(job["name"]))

    async def create_run(
        self, deployment_id: str, *, name: str, parameters: Document, tags: list[str], idempotency_key: str
    ) -> Document:
        """A new flow run; the same key answers with the run that it made first, whatever the parameters."""
        body = {
            "name": name,
            "parameters": parameters,
            "tags": tags,
            "idempotency_key": idempotency_key,
            "enforce_parameter_schema": True,
        }
        created: Document = (await self._send("POST", f"/deployments/{deployment_id}/create_flow_run", body)).json()
        return created

    async def run(self, run_id: str) -> Document | None:
        """One flow run, or None."""
        answer = await self._send("GET", f"/flow_runs/{run_id}", missing_is_fine=True)
        found: Document | None = None if answer.status_code == 404 else answer.json()
        return found

    async def runs(
        self,
        *,
        deployments: list[str],
        limit: int,
        states: list[str] | None = None,
        tags: list[str] | None = None,
        since: datetime | None = None,
        key: str | None = None,
    ) -> list[Document]:
        """Flow runs of these deployments, the newest first."""
        runs: Document = {}
        if states:
            runs["state"] = {"type": {"any_": states}}
        if tags:
            runs["tags"] = {"all_": tags}
        if since:
            runs["expected_start_time"] = {"after_": since.isoformat()}
        if key:
            runs["idempotency_key"] = {"any_": [key]}
        body = {
            "flow_runs": runs,
            "deployments": {"id": {"any_": deployments}},
            "limit": limit,
            "sort": "EXPECTED_START_TIME_DESC",
        }
        found: list[Document] = (await self._send("POST", "/flow_runs/filter", body)).json()
        return found

    async def set_state(self, run_id: str, state: str, message: str) -> None:
        """Propose a state for a run, by its type."""
        body = {"state": {"type": state, "message": message}}
        await self._send("POST", f"/flow_runs/{run_id}/set_state", body)

    async def resume(self, run_id: str, run_input: Document) -> str:
        """Resume a suspended run with an input; the answer is ACCEPT, REJECT or ABORT with the reason."""
        answer = (await self._send("POST", f"/flow_runs/{run_id}/resume", {"run_input": run_input})).json()
        reason = (answer.get("details") or {}).get("reason") or ""
        return f"{answer['status']} {reason}".strip()

    async def steps(self, run_id: str) -> list[Document]:
        """The task runs of a flow run, in the order in which they began."""
        body = {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found: list[Document] = (await self._send("POST", "/task_runs/filter", body)).json()
        return found

    async def logs(self, run_id: str, *, limit: int) -> list[Document]:
        """The last lines that a flow run has logged, the oldest of them first."""
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC", "limit": limit}
        found: list[Document] = (await self._send("POST", "/logs/filter", body)).json()
        return found[::-1]

    async def _send(
        self, method: str, path: str, body: Document | None = None, *, missing_is_fine: bool = False
    ) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"Prefect does not answer: {type(error).__name__}.", expected="A Prefect server at PREFECT_API_URL."
            ) from None
        if answer.is_error and not (missing_is_fine and answer.status_code == 404):
            raise Unavailable(
                f"Prefect answered {answer.status_code} to {method} {path.rsplit('/', 1)[-1]}.",
                expected="An answer without an error.",
            )
        return answer
