"""A fake Prefect server: it stores runs, steps and logs, sends events, and can be silent, stopped, or answer garbage.

It implements only the requests of the admin service, with the responses of Prefect 3.8. tests/stack uses a real server.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from slipway.deployments.ports import free_ports
from tests.played_filters import filter_logs, filter_runs, filter_steps

Document = dict[str, Any]
READY_WITHIN_S = 120.0
KEEP_ALIVE_S = 600  # longer than any test is idle: the server never closes a connection that a client is about to use


def now(ago_s: float = 0) -> str:
    """Return a time in Prefect's format."""
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")


class FakePrefect:
    """One fake server. `silent` and `garbage` change its responses. `request_counts` counts requests by path."""

    def __init__(self) -> None:
        self.runs: dict[str, Document] = {}
        self.steps: dict[str, Document] = {}
        self.logs: list[Document] = []
        self.jobs: dict[str, Document] = {}
        self.request_counts: Counter[str] = Counter()
        self.silent = False  # handle requests, but send no response until this is false again
        self.garbage: bytes | None = None
        self.mute = False  # send no events
        self.subscriptions = 0
        [self.port] = free_ports([0])
        self._queues: set[asyncio.Queue[Document | None]] = set()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Return the URL of the API."""
        return f"http://127.0.0.1:{self.port}/api"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server. Its data from before `stop` is kept."""
        config = uvicorn.Config(
            self._app(),
            port=self.port,
            ws="websockets-sansio",
            log_level="error",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._server.started:
            assert time.monotonic() < deadline, "the fake Prefect server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the server. Its data is kept."""
        if self._server is None or self._thread is None:
            return
        self.close_subscriptions()
        self._server.should_exit = True
        self._thread.join(READY_WITHIN_S)
        assert not self._thread.is_alive(), "the fake Prefect server did not stop"
        self._server = None

    def close_subscriptions(self) -> None:
        """Close all event subscriptions."""
        self._call_in_loop(lambda: [queue.put_nowait(None) for queue in list(self._queues)])

    def job(self, name: str, **schema: Any) -> str:
        """Add a deployment with the tag `job`. Return its id."""
        properties = schema or {"service": {"type": "string"}}
        self.jobs[name] = {
            "id": str(uuid.uuid4()),
            "name": name,
            "tags": ["job"],
            "description": f"# {name}",
            "parameter_openapi_schema": {"type": "object", "properties": properties},
            "schedules": [],
            "paused": False,
        }
        return str(self.jobs[name]["id"])

    def run(self, job: str, state: str = "RUNNING", *, ago_s: float = 0, name: str = "", **fields: Any) -> Document:
        """Add a run that started `ago_s` seconds ago, without an event."""
        moment = now(ago_s)
        run = {
            "id": str(uuid.uuid4()),
            "name": job,
            "deployment_id": self.jobs[job]["id"],
            "parameters": {},
            "tags": [],
            "created": moment,
            "expected_start_time": moment,
            "start_time": None if state in ("SCHEDULED", "PENDING") else moment,
            "end_time": moment if state in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED") else None,
            "auto_scheduled": False,
            "idempotency_key": None,
            "state": {"type": state, "name": name or state.title(), "message": None, "timestamp": moment},
            **fields,
        }
        self.runs[run["id"]] = run
        return run

    def move(self, run: Document, state: str, *, name: str = "", message: str | None = None) -> None:
        """Set the state of a run, and send the event."""
        moment = now()
        run["state"] = {"type": state, "name": name or state.title(), "message": message, "timestamp": moment}
        if state == "RUNNING":
            run["start_time"] = run["start_time"] or moment
        run["end_time"] = moment if state in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED") else None
        self._send_event(f"prefect.flow-run.{run['id']}", run["state"], {}, [])

    def step(self, run: Document, name: str, state: str = "RUNNING", *, send_event: bool = True) -> Document:
        """Set the state of a step, and send the event if `send_event` is true. Add the step if it is new."""
        existing = next((s for s in self.steps.values() if (s["flow_run_id"], s["name"]) == (run["id"], name)), None)
        moment = now()
        step = existing or {
            "id": str(uuid.uuid4()),
            "name": name,
            "flow_run_id": run["id"],
            "expected_start_time": moment,
            "start_time": moment,
            "end_time": None,
            "total_run_time": 0.0,
        }
        step["state"] = {"type": state, "name": state.title(), "message": None, "timestamp": moment}
        step["end_time"] = moment if state in ("COMPLETED", "FAILED") else None
        self.steps[step["id"]] = step
        if send_event:
            payload = {key: value for key, value in step.items() if key not in ("id", "flow_run_id", "state")}
            related = [{"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.role": "flow-run"}]
            self._send_event(f"prefect.task-run.{step['id']}", step["state"], {"task_run": payload}, related)
        return step

    def log(self, run: Document, message: str, moment: str | None = None) -> None:
        """Add a line to a run's log."""
        line = {"id": str(uuid.uuid4()), "name": "slipway", "level": 20, "message": message, "flow_run_id": run["id"]}
        self.logs.append({**line, "timestamp": moment or now(), "task_run_id": None})

    def _send_event(self, resource_id: str, state: Document, payload: Document, related: list[Document]) -> None:
        kind = ".".join(resource_id.split(".")[:2])
        event = {
            "id": str(uuid.uuid4()),
            "event": f"{kind}.{state['name']}",
            "occurred": state["timestamp"],
            "resource": {
                "prefect.resource.id": resource_id,
                "prefect.state-type": state["type"],
                "prefect.state-timestamp": state["timestamp"].replace("Z", "+00:00"),  # the format in events
            },
            "related": related,
            "payload": {"validated_state": {name: state[name] for name in ("type", "name", "message")}, **payload},
        }
        if not self.mute:
            self._call_in_loop(lambda: [queue.put_nowait(event) for queue in list(self._queues)])

    def _call_in_loop(self, act: Callable[[], object]) -> None:
        if self._server is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(act)

    def _serve(self, server: uvicorn.Server) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await server.serve()

        asyncio.run(serve())

    def _app(self) -> Starlette:
        posts: dict[str, Callable[[Document, Request], Any]] = {
            "/deployments/filter": lambda *_: list(self.jobs.values()),
            "/flow_runs/filter": lambda body, _: filter_runs(body, self.runs, self.jobs),
            "/task_runs/filter": lambda body, _: filter_steps(body, self.steps),
            "/logs/filter": lambda body, _: filter_logs(body, self.logs),
            "/deployments/{id}/create_flow_run": lambda body, request: self._create(request.path_params["id"], body),
            "/deployments/{id}/pause_deployment": lambda _, request: self._pause(request.path_params["id"], True),
            "/deployments/{id}/resume_deployment": lambda _, request: self._pause(request.path_params["id"], False),
            "/flow_runs/{id}/set_state": lambda body, request: self._set_state(request.path_params["id"], body),
            "/flow_runs/{id}/resume": lambda _, request: self._resume(request.path_params["id"]),
        }
        gets: dict[str, Callable[[Document, Request], Any]] = {
            "/ready": lambda *_: {"message": "OK"},
            "/flow_runs/{id}": lambda _, request: self.runs.get(request.path_params["id"]),
        }
        routes: list[Any] = [
            Route(f"/api{path}", self._handler(handle), methods=["POST"]) for path, handle in posts.items()
        ]
        routes += [Route(f"/api{path}", self._handler(handle)) for path, handle in gets.items()]
        return Starlette(routes=[*routes, WebSocketRoute("/api/events/out", self._events_out)])

    def _handler(self, handle: Callable[[Document, Request], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self.request_counts[request.scope["path"].removeprefix("/api")] += 1
            body = await request.json() if await request.body() else {}
            if self.garbage is not None:
                return Response(self.garbage, media_type="application/json")
            result = handle(body, request)
            while self.silent:
                await asyncio.sleep(0.01)
            return JSONResponse(result, status_code=404 if result is None else 200)

        return answer

    async def _events_out(self, socket: WebSocket) -> None:
        await socket.accept(subprotocol="prefect")
        try:
            assert (await socket.receive_json())["type"] == "auth"
            await socket.send_text('{"type": "auth_success"}' if self.garbage is None else self.garbage.decode())
            assert (await socket.receive_json())["type"] == "filter"
            await self._stream(socket)
        except (WebSocketDisconnect, AssertionError):
            return

    async def _stream(self, socket: WebSocket) -> None:
        queue: asyncio.Queue[Document | None] = asyncio.Queue()
        self._queues.add(queue)
        self.subscriptions += 1
        disconnected = asyncio.ensure_future(socket.receive())
        try:
            while not disconnected.done():
                next_event = asyncio.ensure_future(queue.get())
                await asyncio.wait([disconnected, next_event], return_when=asyncio.FIRST_COMPLETED)
                event = next_event.result() if next_event.done() else None
                if event is None:
                    next_event.cancel()
                    return
                await socket.send_json({"type": "event", "event": event})
        finally:
            disconnected.cancel()
            self._queues.discard(queue)

    def _create(self, deployment: str, body: Document) -> Document:
        existing = [run for run in self.runs.values() if run["idempotency_key"] == body["idempotency_key"]]
        if existing:
            return existing[0]
        job = next(name for name, job in self.jobs.items() if job["id"] == deployment)
        values = {name: body[name] for name in ("name", "parameters", "tags", "idempotency_key", "labels")}
        run = self.run(job, "SCHEDULED")
        run.update(values)
        self._send_event(f"prefect.flow-run.{run['id']}", run["state"], {}, [])
        return run

    def _pause(self, deployment: str, paused: bool) -> Document:
        next(job for job in self.jobs.values() if job["id"] == deployment)["paused"] = paused
        return {}

    def _set_state(self, run_id: str, body: Document) -> Document:
        self.move(self.runs[run_id], body["state"]["type"], message=body["state"]["message"])
        return {"status": "ACCEPT"}

    def _resume(self, run_id: str) -> Document:
        self.move(self.runs[run_id], "SCHEDULED", name="Resuming")
        return {"status": "ACCEPT"}
