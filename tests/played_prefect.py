"""A Prefect server that a test plays: it keeps runs, steps and logs, tells events, and can be silent, away, or talk nonsense.

Our own, and small: what the admin service asks of Prefect, as Prefect 3.8 answers it. tests/stack asks the real one.
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
KEEP_ALIVE_S = 600  # no test idles so long: the server never closes a connection that a client is about to use


def now(ago_s: float = 0) -> str:
    """A time as Prefect writes it."""
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")


class PlayedPrefect:
    """One played server. `silent` and `garbage` change how it answers; `asked` counts requests by path."""

    def __init__(self) -> None:
        self.runs: dict[str, Document] = {}
        self.steps: dict[str, Document] = {}
        self.logs: list[Document] = []
        self.jobs: dict[str, Document] = {}
        self.asked: Counter[str] = Counter()
        self.silent = False  # handle requests, and answer them once this is false again
        self.garbage: bytes | None = None
        self.mute = False  # events are lost on the way
        self.subscriptions = 0
        [self.port] = free_ports([0])
        self._queues: set[asyncio.Queue[Document | None]] = set()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self.port}/api"

    def __enter__(self) -> Self:
        self.come()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def come(self) -> None:
        """Answer from now on."""
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
            assert time.monotonic() < deadline, "waited for the played Prefect to answer"
            time.sleep(0.01)

    def go(self) -> None:
        """Answer no more; what is known stays."""
        if self._server is None or self._thread is None:
            return
        self.hang_up()
        self._server.should_exit = True
        self._thread.join(READY_WITHIN_S)
        assert not self._thread.is_alive(), "waited for the played Prefect to end"
        self._server = None

    def hang_up(self) -> None:
        """End all subscriptions."""
        self._in_loop(lambda: [queue.put_nowait(None) for queue in list(self._queues)])

    def job(self, name: str, **schema: Any) -> str:
        """A deployment that is tagged as a job; its id."""
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

    def run(self, job: str, state: str = "RUNNING", *, ago_s: float = 0, name: str = "", **more: Any) -> Document:
        """A run that began so many seconds ago; nobody is told."""
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
            **more,
        }
        self.runs[run["id"]] = run
        return run

    def move(self, run: Document, state: str, *, name: str = "", message: str | None = None) -> None:
        """A run comes into another state, and an event tells it."""
        moment = now()
        run["state"] = {"type": state, "name": name or state.title(), "message": message, "timestamp": moment}
        if state == "RUNNING":
            run["start_time"] = run["start_time"] or moment
        run["end_time"] = moment if state in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED") else None
        self._tell(f"prefect.flow-run.{run['id']}", run["state"], {}, [])

    def step(self, run: Document, name: str, state: str = "RUNNING", *, told: bool = True) -> Document:
        """A step of a run comes into a state, and an event tells it, when it is `told`."""
        known = next((s for s in self.steps.values() if (s["flow_run_id"], s["name"]) == (run["id"], name)), None)
        moment = now()
        step = known or {
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
        if told:
            shown = {key: value for key, value in step.items() if key not in ("id", "flow_run_id", "state")}
            related = [{"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.role": "flow-run"}]
            self._tell(f"prefect.task-run.{step['id']}", step["state"], {"task_run": shown}, related)
        return step

    def log(self, run: Document, message: str, moment: str | None = None) -> None:
        """A line in a run's log."""
        line = {"id": str(uuid.uuid4()), "name": "slipway", "level": 20, "message": message, "flow_run_id": run["id"]}
        self.logs.append({**line, "timestamp": moment or now(), "task_run_id": None})

    def _tell(self, about: str, state: Document, payload: Document, related: list[Document]) -> None:
        kind = ".".join(about.split(".")[:2])
        event = {
            "id": str(uuid.uuid4()),
            "event": f"{kind}.{state['name']}",
            "occurred": state["timestamp"],
            "resource": {
                "prefect.resource.id": about,
                "prefect.state-type": state["type"],
                "prefect.state-timestamp": state["timestamp"].replace("Z", "+00:00"),  # events have it so
            },
            "related": related,
            "payload": {"validated_state": {name: state[name] for name in ("type", "name", "message")}, **payload},
        }
        if not self.mute:
            self._in_loop(lambda: [queue.put_nowait(event) for queue in list(self._queues)])

    def _in_loop(self, act: Callable[[], object]) -> None:
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
            Route(f"/api{path}", self._answering(act), methods=["POST"]) for path, act in posts.items()
        ]
        routes += [Route(f"/api{path}", self._answering(act)) for path, act in gets.items()]
        return Starlette(routes=[*routes, WebSocketRoute("/api/events/out", self._events_out)])

    def _answering(self, act: Callable[[Document, Request], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self.asked[request.scope["path"].removeprefix("/api")] += 1
            body = await request.json() if await request.body() else {}
            if self.garbage is not None:
                return Response(self.garbage, media_type="application/json")
            found = act(body, request)
            while self.silent:
                await asyncio.sleep(0.01)
            return JSONResponse(found, status_code=404 if found is None else 200)

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
        gone = asyncio.ensure_future(socket.receive())
        try:
            while not gone.done():
                getting = asyncio.ensure_future(queue.get())
                await asyncio.wait([gone, getting], return_when=asyncio.FIRST_COMPLETED)
                event = getting.result() if getting.done() else None
                if event is None:
                    getting.cancel()
                    return
                await socket.send_json({"type": "event", "event": event})
        finally:
            gone.cancel()
            self._queues.discard(queue)

    def _create(self, deployment: str, body: Document) -> Document:
        known = [run for run in self.runs.values() if run["idempotency_key"] == body["idempotency_key"]]
        if known:
            return known[0]
        job = next(name for name, found in self.jobs.items() if found["id"] == deployment)
        shown = {name: body[name] for name in ("name", "parameters", "tags", "idempotency_key", "labels")}
        run = self.run(job, "SCHEDULED")
        run.update(shown)
        self._tell(f"prefect.flow-run.{run['id']}", run["state"], {}, [])
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
