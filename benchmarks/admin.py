"""The admin service beside Prefect's own API on the same server, with 10,000 runs in history and 20 running.

Reads and triggers come in turn, so that the machine's noise falls on both alike. What Prefect is asked is counted on the
wire, by a relay between it and the admin process that is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.history import make_history
from benchmarks.raw_http import Wire
from benchmarks.relay import CountingRelay
from benchmarks.viewers import watching
from slipway.deployments.deploy import POOL, ROOT
from slipway.deployments.ports import HOST, free_ports
from slipway.deployments.processes import exit_on_sigterm
from slipway.deployments.serving import admin_part, put_first
from slipway.deployments.stack import Stack

HISTORY, RUNNING, VIEWERS = 10_000, 20, 200
READS, TRIGGERS, CLIENTS, BURST = 1_000, 200, 8, 300  # each client so many
WATCHED_S, RUN_FOR_S = 60.0, 900.0  # twice the time after which a process reads a little by itself
PAGE = 50
NOBODY = "bench-nobody"  # a pool without a worker: what is only triggered need not run


def main() -> int:
    """Measure and print one JSON line each; 0 when no trigger failed."""
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        place = Path(folder)
        with Stack(place / "stack", changes=ROOT / "changes", fresh=True, say=_tell) as stack:
            history = History(stack)
            put_first(os.getpid())  # whoever measures must not wait, either: it would be counted as an answer's time
            with _admin(stack, place) as (admin, relay):
                return Bench(stack, admin, relay, history).run()


class History:
    """The jobs of the bench, and 10,000 runs of one of them: copies of one that really ran."""

    def __init__(self, stack: Stack) -> None:
        with httpx.Client(base_url=f"{stack.prefect_url}/api", timeout=60, trust_env=False) as api:
            api.post("/work_pools/", json={"name": NOBODY, "type": "process"}).raise_for_status()
            self.triggered = _deployment(
                api, "benchmarks.flows.first_line", "bench-first-line", NOBODY, "bench-triggered"
            )
            self.patient = _deployment(api, "benchmarks.flows.patient", "bench-patient", POOL, "bench-patient")
            path = f"/deployments/{self.patient}/create_flow_run"
            run = api.post(path, json={"parameters": {"seconds": 3}}).raise_for_status().json()["id"]
            _until(lambda: api.get(f"/flow_runs/{run}").json()["state"]["type"] == "COMPLETED", "the first run to end")
        database = stack.environment["PREFECT_API_DATABASE_CONNECTION_URL"].replace("+asyncpg", "")
        self.ids = make_history(database, run, HISTORY)


class Bench:
    """One stack with history, and one admin process behind a counting relay."""

    def __init__(self, stack: Stack, admin: str, relay: CountingRelay, history: History) -> None:
        self.admin = Wire(admin, stack.token)
        self.prefect = Wire(stack.prefect_url)
        self.relay = relay
        self.url, self.token = admin, stack.token
        self.history = history

    def run(self) -> int:
        """Everything, in turn."""
        ids = self.history.ids
        _until(lambda: ids[PAGE // 2] in self._listed(), "the history to be listed")
        _until(lambda: self._asked_in(3.0) == 0, "the process to have read the history")
        cold = [self.admin.timed("GET", f"/runs/{run_id}") for run_id in ids[:40]]
        list_idle, _ = self._lists("admin/list", history=HISTORY)
        detail_idle, _ = self._details("admin/detail", ids[:20], first_look_p50_ms=round(statistics.median(cold), 2))
        running = [self._start({"seconds": RUN_FOR_S}) for _ in range(RUNNING)]
        _until(lambda: all(self._state(run_id) == "RUNNING" for run_id in running), "20 runs to run", 400)
        list_busy, _ = self._lists("admin/list-while-20-run", history=HISTORY)
        detail_busy, _ = self._details("admin/detail-while-20-run", running)
        _compare("admin/list-idle-or-busy", list_busy, "idle", list_idle)
        _compare("admin/detail-idle-or-busy", detail_busy, "idle", detail_idle)
        self._viewers(running)
        self._trigger()
        return self._burst()

    def _lists(self, name: str, **more: Any) -> tuple[list[float], list[float]]:
        body = {"deployments": {"tags": {"all_": ["job"]}}, "limit": PAGE, "sort": "EXPECTED_START_TIME_DESC"}
        return self._in_turn(
            name,
            lambda _: self.admin.timed("GET", f"/runs?limit={PAGE}"),
            "prefect-filter",
            lambda _: self.prefect.timed("POST", "/api/flow_runs/filter", body),
            **more,
        )

    def _details(self, name: str, ids: list[str], **more: Any) -> tuple[list[float], list[float]]:
        return self._in_turn(
            name,
            lambda number: self.admin.timed("GET", f"/runs/{ids[number % len(ids)]}"),
            "prefect-read",
            lambda number: self.prefect.timed("GET", f"/api/flow_runs/{ids[number % len(ids)]}"),
            **more,
        )

    def _in_turn(
        self, name: str, ours: Callable[[int], float], peer: str, theirs: Callable[[int], float], **more: Any
    ) -> tuple[list[float], list[float]]:
        for number in range(30):  # both warm
            ours(number), theirs(number)
        a, b = [], []
        for number in range(READS):
            a.append(ours(number))
            b.append(theirs(number))
        _compare(name, a, peer, b, **more)
        return a, b

    def _viewers(self, running: list[str]) -> None:
        """What Prefect is asked by the admin process in a while, with 200 who watch, and with nobody before and after.

        The longer runs go on the more steps they have, which are read page by page now and then.
        """
        before = self._asked_in(WATCHED_S)
        with watching(self.url, self.token, running, VIEWERS) as seen:
            _until(lambda: seen.open == VIEWERS, "200 viewers to watch")
            watched = self._asked_in(WATCHED_S)
            told, lost = seen.events, VIEWERS - seen.open
        alone = round((before + self._asked_in(WATCHED_S)) / 2, 2)
        line = {"name": "admin/requests-to-prefect", "unit": "1/s", "ours": watched, "peer": "nobody-watches"}
        more = {"viewers": VIEWERS, "events_told": told, "lost_viewers": lost}
        _print(line | {"theirs": alone, "ratio": round(alone / watched, 2)} | more)

    def _asked_in(self, seconds: float) -> float:
        before = self.relay.requests
        time.sleep(seconds)
        return round((self.relay.requests - before) / seconds, 2)

    def _trigger(self) -> None:
        """All by way of the relay, which costs all alike, each behind each: what one leaves to do meets the next."""
        bare = Wire(f"http://{HOST}:{self.relay.port}")
        path = f"/api/deployments/{self.history.triggered}/create_flow_run"
        ours: list[float] = []
        theirs: list[float] = []
        repeatable: list[float] = []
        for number in range(TRIGGERS):
            acts: list[tuple[list[float], Wire, str, dict[str, Any]]] = [
                (ours, self.admin, "/jobs/bench-triggered/runs", {}),
                (theirs, bare, path, {"parameters": {}}),
                (repeatable, bare, path, {"parameters": {}, "idempotency_key": uuid.uuid4().hex}),
            ]
            for took, wire, where, body in acts if number % 2 else reversed(acts):
                took.append(wire.timed("POST", where, body))
        _compare("admin/trigger", ours, "bare-create", theirs, at=0.5)
        _compare("admin/trigger", ours, "bare-create-that-may-be-repeated", repeatable, at=0.5)

    def _burst(self) -> int:
        """8 clients with 300 triggers each, as fast as they are answered."""
        ids: list[str] = []
        errors: list[str] = []
        lock = threading.Lock()

        def client(number: int) -> None:
            wire = Wire(self.url, self.token)
            for one in range(BURST):
                headers = {"Idempotency-Key": f"{number}-{one}"}
                status, body = wire.ask("POST", "/jobs/bench-triggered/runs", {}, headers)
                with lock:
                    (ids if status == 202 else errors).append(body.get("id") or str(body)[:300])

        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
        seconds = time.perf_counter() - began
        doubled = len(ids) - len(set(ids))
        line = {"name": "admin/burst", "unit": "1/s", "ours": round(len(ids) / seconds, 1), "clients": CLIENTS}
        _print(line | {"triggers": CLIENTS * BURST, "errors": len(errors), "doubled": doubled})
        for error in errors[:3]:
            _tell(error)
        return 1 if errors or doubled else 0

    def _listed(self) -> set[str]:
        return {run["id"] for run in self.admin.get(f"/runs?limit={PAGE}")["runs"]}

    def _start(self, parameters: dict[str, Any]) -> str:
        path = f"/api/deployments/{self.history.patient}/create_flow_run"
        return str(self.prefect.ask("POST", path, {"parameters": parameters})[1]["id"])

    def _state(self, run_id: str) -> str:
        return str(self.admin.get(f"/runs/{run_id}")["state"]["type"])


@contextmanager
def _admin(stack: Stack, place: Path) -> Iterator[tuple[str, CountingRelay]]:
    """An admin process of the bench's own, behind the relay; the triggers of one caller are not limited in it."""
    [port] = free_ports([0])
    with CountingRelay(stack.ports["prefect"]) as relay:
        environment = {
            **stack.environment,
            "PREFECT_API_URL": f"http://{HOST}:{relay.port}/api",
            "SLIPWAY_TRIGGERS_PER_MINUTE": "1000000",
        }
        part = admin_part(environment, port, place / "admin.log")
        part.start()
        try:
            part.wait_until_ready(threading.Event())
            yield f"http://{HOST}:{port}", relay
        finally:
            part.stop()


def _deployment(api: httpx.Client, entrypoint: str, flow: str, pool: str, name: str) -> str:
    flow_id = api.post("/flows/", json={"name": flow}).raise_for_status().json()["id"]
    body = {
        "name": name,
        "flow_id": flow_id,
        "entrypoint": entrypoint,
        "work_pool_name": pool,
        "tags": ["job"],
        "parameter_openapi_schema": {"type": "object", "properties": {"seconds": {"type": "number"}}},
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
    }
    return str(api.post("/deployments/", json=body).raise_for_status().json()["id"])


def _until(look: Callable[[], object], what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def _compare(name: str, ours: list[float], peer: str, theirs: list[float], *, at: float = 0.99, **more: Any) -> None:
    a, b = _quantile(ours, at), _quantile(theirs, at)
    line = {"name": name, "unit": "ms", "quantile": at, "ours": round(a, 2), "peer": peer, "theirs": round(b, 2)}
    medians = {"p50": round(statistics.median(ours), 2), "their_p50": round(statistics.median(theirs), 2)}
    _print(line | {"ratio": round(b / a, 2)} | medians | more)


def _quantile(values: list[float], at: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(at * 100) - 1]


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
