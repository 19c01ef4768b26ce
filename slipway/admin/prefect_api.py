"""Prefect's REST API, as much of it as the admin service needs. Every failure is `Unavailable`, and nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Any

import httpx
from pydantic_core import from_json

from slipway.core.errors import Unavailable

WITHIN_S = 5.0  # in all, for one request; a person waits for it
IDLE_S = 2.0  # uvicorn hangs up after five, and must not do so just when a request comes
JOB_TAG = "job"
MOST = 200  # what Prefect answers at most at once
IS_JOB = {"tags": {"all_": [JOB_TAG]}}
RUN = (
    *("id", "name", "deployment_id", "parameters", "tags", "created", "expected_start_time", "start_time", "end_time"),
    *("auto_scheduled", "idempotency_key"),
)
ASKED_BY = "slipway.asked_by"  # a label of the run: made with it, and so never lost
STEP = ("id", "name", "flow_run_id", "expected_start_time", "start_time", "end_time", "total_run_time")
LINE = ("id", "timestamp", "level", "message")
STATE = ("type", "name", "message", "timestamp")  # many runs are kept, and what is not shown weighs
Document = dict[str, Any]


class Prefect:
    """One Prefect server; `auth` is its PREFECT_SERVER_API_AUTH_STRING, empty where it has none."""

    def __init__(self, api_url: str, auth: str = "") -> None:
        self.api_url = api_url
        self.auth = auth
        self._within_s: float | None = None
        user, _, password = auth.partition(":")
        self._client = httpx.AsyncClient(
            base_url=api_url,
            trust_env=False,
            headers={
                "Accept-Encoding": "identity"
            },  # Prefect packs as small as it can, which takes longer than sending
            auth=(user, password) if auth else None,
            limits=httpx.Limits(max_connections=100, keepalive_expiry=IDLE_S),
        )

    def patient(self, within_s: float) -> Prefect:
        """The same server over the same connections, for who is not waited for by a person."""
        other = copy(self)
        other._within_s = within_s
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ready(self) -> None:
        """Return when the server and its database answer."""
        if not isinstance(await self._send("GET", "/ready"), dict):
            raise _nonsense("its readiness")

    async def jobs(self) -> list[Document]:
        """The deployments that are tagged as jobs."""
        found = await self._list("/deployments/filter", {"deployments": IS_JOB}, needed=("id", "name"))
        return sorted(found, key=lambda job: str(job["name"]))

    async def switch_schedules(self, deployment_id: str, *, on: bool) -> None:
        """Let the schedules of a deployment make runs, or not."""
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
        """A new flow run; the same key answers with the run that it made first, whatever the parameters.

        They were checked against the deployment's schema at the door: Prefect does not check them once more.
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
        """One flow run, or None."""
        answer = await self._send("GET", f"/flow_runs/{run_id}", missing_is_fine=True)
        return None if answer is None else _run(answer)

    async def runs(
        self,
        *,
        limit: int = MOST,
        ids: Sequence[str] | None = None,
        job: str | None = None,
        states: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        key: str | None = None,
        planned_first: bool = False,
    ) -> list[Document]:
        """Flow runs of jobs, by the time at which they were to start: the newest first, or `planned_first` the soonest.

        `since` and `before` are inclusive.
        """
        wanted = {
            "id": ids and {"any_": list(ids)},
            "state": states and {"type": {"any_": list(states)}},
            "tags": tags and {"all_": list(tags)},
            "expected_start_time": _between(since, before),
            "idempotency_key": key and {"any_": [key]},
        }
        body = {
            "flow_runs": {name: value for name, value in wanted.items() if value},
            "deployments": IS_JOB | ({"name": {"any_": [job]}} if job else {}),
            "limit": limit,
            "sort": f"EXPECTED_START_TIME_{'ASC' if planned_first else 'DESC'}",
        }
        return [_run(run) for run in await self._list("/flow_runs/filter", body)]

    async def set_state(self, run_id: str, state: str, message: str) -> None:
        """Propose a state for a run, by its type."""
        body = {"state": {"type": state, "message": message}}
        await self._send("POST", f"/flow_runs/{run_id}/set_state", body, once=True)

    async def resume(self, run_id: str, run_input: Document) -> str:
        """Resume a suspended run with an input; the answer is ACCEPT, REJECT or ABORT with the reason."""
        answer = await self._send("POST", f"/flow_runs/{run_id}/resume", {"run_input": run_input}, once=True)
        if not isinstance(answer, dict) or "status" not in answer:
            raise _nonsense("a status")
        reason = (answer.get("details") or {}).get("reason") or ""
        return f"{answer['status']} {reason}".strip()

    async def steps(self, run_ids: Sequence[str]) -> list[Document]:
        """The task runs of flow runs, in the order in which they began."""
        body = {"flow_runs": {"id": {"any_": list(run_ids)}}, "sort": "EXPECTED_START_TIME_ASC"}
        found: list[Document] = []
        while True:
            page = await self._list(
                "/task_runs/filter",
                body | {"offset": len(found), "limit": MOST},
                needed=("id", "name", "flow_run_id", "state"),
            )
            found += [_step(step) for step in page]
            if len(page) < MOST:
                return found

    async def logs(self, run_id: str, since: datetime | None, limit: int) -> list[Document]:
        """Lines of a run's log since a time (inclusive), the oldest first."""
        wanted: Document = {"flow_run_id": {"any_": [run_id]}}
        if since is not None:
            wanted["timestamp"] = {"after_": since.isoformat()}
        body = {"logs": wanted, "limit": limit, "sort": "TIMESTAMP_ASC"}
        return await self._list("/logs/filter", body, needed=LINE)

    async def _list(self, path: str, body: Document, *, needed: Sequence[str] = ()) -> list[Document]:
        found = await self._send("POST", path, body)
        if not isinstance(found, list) or not all(
            isinstance(entry, dict) and all(name in entry for name in needed) for entry in found
        ):
            raise _nonsense(f"a list of {path.split('/')[1].replace('_', ' ')}")
        return found

    async def last_logs(self, run_id: str, limit: int) -> list[Document]:
        """The last lines that a flow run has logged, the oldest of them first."""
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
        """What Prefect answers, as JSON; None for what is not there, where that is fine, and for an empty answer.

        What may be done twice is sent again when the server hangs up before it has answered.
        """
        within_s = self._within_s or WITHIN_S
        try:
            async with asyncio.timeout(within_s):  # httpx counts each phase of a request by itself
                try:
                    answer = await self._client.request(method, path, json=body, timeout=within_s)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    if once:
                        raise
                    answer = await self._client.request(method, path, json=body, timeout=within_s)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable(
                f"Prefect does not answer: {type(error).__name__}.", expected="A Prefect server at PREFECT_API_URL."
            ) from None
        return _read(answer, f"{method} {path.rsplit('/', 1)[-1]}", missing_is_fine=missing_is_fine)


def _read(answer: httpx.Response, asked: str, *, missing_is_fine: bool) -> Any:
    if missing_is_fine and answer.status_code == 404:
        return None
    if not answer.is_success:
        raise Unavailable(f"Prefect answered {answer.status_code} to {asked}.", expected="An answer without an error.")
    try:
        return from_json(answer.content) if answer.content else None
    except ValueError:
        raise _nonsense("JSON") from None


def _between(since: datetime | None, before: datetime | None) -> Document:
    wanted = {"after_": since, "before_": before}
    return {name: moment.isoformat() for name, moment in wanted.items() if moment is not None}


def _run(found: Any) -> Document:
    """A flow run, as much of it as is used. Raises Unavailable for what is none: whoever reads it need not look again."""
    kinds = {"id": str, "name": str, "created": str, "parameters": dict}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        raise _nonsense("a flow run")
    labels = found.get("labels")
    run = {name: found.get(name) for name in RUN} | {
        "asked_by": labels.get(ASKED_BY) if isinstance(labels, dict) else None
    }
    try:
        state = run["state"] = _state(found.get("state"))
        for moment in (run["created"], run["expected_start_time"], state["timestamp"]):
            _ = moment and datetime.fromisoformat(moment)
    except (ValueError, TypeError, AttributeError):
        raise _nonsense("a flow run with a state and times") from None
    return run


def _step(found: Document) -> Document:
    """A task run, as much of it as is used."""
    return {**{name: found.get(name) for name in STEP}, "state": _state(found["state"])}


def _state(found: Any) -> Document:
    known = found if isinstance(found, dict) else {}
    return {name: known.get(name) for name in STATE}


def _nonsense(expected: str) -> Unavailable:
    return Unavailable("Prefect's answer makes no sense.", expected=f"An answer that is {expected}.")
