"""A client for the part of Prefect's REST API that the admin service needs. Failures and timeouts raise `Unavailable`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Any

import httpx
from pydantic_core import from_json

from slipway.core.errors import Unavailable

WITHIN_S = 5.0  # for one whole request, because a user waits for the response
IDLE_S = 2.0  # uvicorn closes idle connections after 5 s; ours must close first
JOB_TAG = "job"
PAGE_SIZE = 200  # the most entries that Prefect returns in one response
IS_JOB = {"tags": {"all_": [JOB_TAG]}}
RUN = (
    *("id", "name", "deployment_id", "parameters", "tags", "created", "expected_start_time", "start_time", "end_time"),
    *("auto_scheduled", "idempotency_key"),
)
ASKED_BY = "slipway.asked_by"  # a label of the run, stored in the request that creates the run
STEP = ("id", "name", "flow_run_id", "expected_start_time", "start_time", "end_time", "total_run_time")
LINE = ("id", "timestamp", "level", "message")
STATE = ("type", "name", "message", "timestamp")  # only what is shown: the read model holds many runs in memory
Document = dict[str, Any]


class Prefect:
    """One Prefect server; `auth` is its PREFECT_SERVER_API_AUTH_STRING, or empty."""

    def __init__(self, api_url: str, auth: str = "") -> None:
        self.api_url = api_url
        self.auth = auth
        self._timeout_s: float | None = None
        user, _, password = auth.partition(":")
        self._client = httpx.AsyncClient(
            base_url=api_url,
            trust_env=False,
            headers={
                "Accept-Encoding": "identity"
            },  # Prefect compresses at the highest level, which takes longer than sending
            auth=(user, password) if auth else None,
            limits=httpx.Limits(max_connections=100, keepalive_expiry=IDLE_S),
        )

    def with_timeout(self, timeout_s: float) -> Prefect:
        """Return a client for background callers: the same connections, with a longer timeout (seconds)."""
        client = copy(self)
        client._timeout_s = timeout_s
        return client

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ready(self) -> None:
        """Return if the server and its database answer. Raises Unavailable."""
        if not isinstance(await self._send("GET", "/ready"), dict):
            raise _invalid_response("its readiness")

    async def jobs(self) -> list[Document]:
        """Return the deployments with the tag `job`, by name."""
        deployments = await self._list("/deployments/filter", {"deployments": IS_JOB}, needed=("id", "name"))
        return sorted(deployments, key=lambda job: str(job["name"]))

    async def switch_schedules(self, deployment_id: str, *, on: bool) -> None:
        """Resume or pause the schedules of a deployment."""
        await self._send("POST", f"/deployments/{deployment_id}/{'resume' if on else 'pause'}_deployment")

    async def create_run(
        self,
        deployment_id: str,
        *,
        name: str,
        parameters: Document,
        tags: list[str],
        idempotency_key: str,
        asked_by: str,
    ) -> Document:
        """Create a flow run. For a used key, Prefect returns the first run with that key, whatever the parameters.

        Prefect does not validate the parameters: `jobs.check_parameters` has already checked them.
        """
        body = {
            "name": name,
            "parameters": parameters,
            "tags": tags,
            "idempotency_key": idempotency_key,
            "labels": {ASKED_BY: asked_by},
            "enforce_parameter_schema": False,
        }
        return _run(await self._send("POST", f"/deployments/{deployment_id}/create_flow_run", body))

    async def run(self, run_id: str) -> Document | None:
        """Return one flow run, or None."""
        answer = await self._send("GET", f"/flow_runs/{run_id}", missing_is_fine=True)
        return None if answer is None else _run(answer)

    async def runs(
        self,
        *,
        limit: int = PAGE_SIZE,
        ids: Sequence[str] | None = None,
        job: str | None = None,
        states: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        key: str | None = None,
        planned_first: bool = False,
    ) -> list[Document]:
        """Return flow runs of jobs by expected start time, newest first, or with `planned_first` earliest first.

        `since` and `before` are inclusive.
        """
        filters = {
            "id": ids and {"any_": list(ids)},
            "state": states and {"type": {"any_": list(states)}},
            "tags": tags and {"all_": list(tags)},
            "expected_start_time": _between(since, before),
            "idempotency_key": key and {"any_": [key]},
        }
        body = {
            "flow_runs": {name: value for name, value in filters.items() if value},
            "deployments": IS_JOB | ({"name": {"any_": [job]}} if job else {}),
            "limit": limit,
            "sort": f"EXPECTED_START_TIME_{'ASC' if planned_first else 'DESC'}",
        }
        return [_run(run) for run in await self._list("/flow_runs/filter", body)]

    async def set_state(self, run_id: str, state: str, message: str) -> None:
        """Propose a state type for a run."""
        body = {"state": {"type": state, "message": message}}
        await self._send("POST", f"/flow_runs/{run_id}/set_state", body, once=True)

    async def resume(self, run_id: str, run_input: Document) -> str:
        """Resume a suspended run with an input. Return ACCEPT, REJECT or ABORT, followed by Prefect's reason."""
        answer = await self._send("POST", f"/flow_runs/{run_id}/resume", {"run_input": run_input}, once=True)
        if not isinstance(answer, dict) or "status" not in answer:
            raise _invalid_response("a status")
        reason = (answer.get("details") or {}).get("reason") or ""
        return f"{answer['status']} {reason}".strip()

    async def steps(self, run_ids: Sequence[str]) -> list[Document]:
        """Return the task runs of flow runs, in order of their expected start."""
        body = {"flow_runs": {"id": {"any_": list(run_ids)}}, "sort": "EXPECTED_START_TIME_ASC"}
        steps: list[Document] = []
        while True:
            page = await self._list(
                "/task_runs/filter",
                body | {"offset": len(steps), "limit": PAGE_SIZE},
                needed=("id", "name", "flow_run_id", "state"),
            )
            steps += [_step(step) for step in page]
            if len(page) < PAGE_SIZE:
                return steps

    async def logs(self, run_id: str, since: datetime | None, limit: int) -> list[Document]:
        """Return lines of a run's log since a time (inclusive), oldest first."""
        log_filter: Document = {"flow_run_id": {"any_": [run_id]}}
        if since is not None:
            log_filter["timestamp"] = {"after_": since.isoformat()}
        body = {"logs": log_filter, "limit": limit, "sort": "TIMESTAMP_ASC"}
        return await self._list("/logs/filter", body, needed=LINE)

    async def _list(self, path: str, body: Document, *, needed: Sequence[str] = ()) -> list[Document]:
        entries = await self._send("POST", path, body)
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and all(name in entry for name in needed) for entry in entries
        ):
            raise _invalid_response(f"a list of {path.split('/')[1].replace('_', ' ')}")
        return entries

    async def last_logs(self, run_id: str, limit: int) -> list[Document]:
        """Return the last log lines of a flow run, oldest first."""
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC", "limit": limit}
        return (await self._list("/logs/filter", body, needed=LINE))[::-1]

    async def _send(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        missing_is_fine: bool = False,
        once: bool = False,
    ) -> Any:
        """Return Prefect's JSON response; None for an empty response, and for a 404 if `missing_is_fine`.

        If the server closes the connection before it answers, the request is sent again, unless `once`.
        """
        timeout_s = self._timeout_s or WITHIN_S
        try:
            async with asyncio.timeout(timeout_s):  # httpx applies its timeout to each phase of a request separately
                try:
                    answer = await self._client.request(method, path, json=body, timeout=timeout_s)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    if once:
                        raise
                    answer = await self._client.request(method, path, json=body, timeout=timeout_s)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable(
                f"Prefect does not answer: {type(error).__name__}.",
                expected="A Prefect server runs at PREFECT_API_URL.",
            ) from None
        return _read(answer, f"{method} {path.rsplit('/', 1)[-1]}", missing_is_fine=missing_is_fine)


def _read(answer: httpx.Response, request: str, *, missing_is_fine: bool) -> Any:
    if missing_is_fine and answer.status_code == 404:
        return None
    if not answer.is_success:
        raise Unavailable(
            f"Prefect answered {answer.status_code} to {request}.", expected="Prefect answers without an error."
        )
    try:
        return from_json(answer.content) if answer.content else None
    except ValueError:
        raise _invalid_response("JSON") from None


def _between(since: datetime | None, before: datetime | None) -> Document:
    bounds = {"after_": since, "before_": before}
    return {name: moment.isoformat() for name, moment in bounds.items() if moment is not None}


def _run(document: Any) -> Document:
    """Return the members of a flow run that we use. Raises Unavailable for anything else: readers need no more checks."""
    kinds = {"id": str, "name": str, "created": str, "parameters": dict}
    if not isinstance(document, dict) or not all(isinstance(document.get(name), kind) for name, kind in kinds.items()):
        raise _invalid_response("a flow run")
    labels = document.get("labels")
    run = {name: document.get(name) for name in RUN} | {
        "asked_by": labels.get(ASKED_BY) if isinstance(labels, dict) else None
    }
    try:
        state = run["state"] = _state(document.get("state"))
        for moment in (run["created"], run["expected_start_time"], state["timestamp"]):
            _ = moment and datetime.fromisoformat(moment)
    except (ValueError, TypeError, AttributeError):
        raise _invalid_response("a flow run with a state and times") from None
    return run


def _step(document: Document) -> Document:
    """Return the members of a task run that we use."""
    return {**{name: document.get(name) for name in STEP}, "state": _state(document["state"])}


def _state(document: Any) -> Document:
    state = document if isinstance(document, dict) else {}
    return {name: state.get(name) for name in STATE}


def _invalid_response(expected: str) -> Unavailable:
    return Unavailable("Prefect's response is invalid.", expected=f"The response is {expected}.")
