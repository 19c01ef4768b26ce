"""Compare the admin service with Prefect's own API on the same server, with 10,000 finished and 20 running runs.

Requests alternate between both, so that the machine's noise affects both alike. A relay between Prefect and the measured
admin process counts the requests to Prefect.
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
from benchmarks.raw_http import Connection
from benchmarks.relay import CountingRelay
from benchmarks.viewers import connected_viewers
from slipway.deployments.deploy import POOL, ROOT
from slipway.deployments.ports import HOST, free_ports
from slipway.deployments.processes import exit_on_sigterm
from slipway.deployments.serving import admin_part, raise_priority
from slipway.deployments.stack import Stack

HISTORY, RUNNING, VIEWERS = 10_000, 20, 200
READS, TRIGGERS, CLIENTS, BURST = 1_000, 200, 8, 300  # BURST: triggers per client
WATCHED_S, RUN_FOR_S = 60.0, 900.0  # WATCHED_S: twice the interval of the admin process's own reads
PAGE = 50
IDLE_POOL = "bench-nobody"  # a pool without a worker: runs that are only triggered need not execute


def main() -> int:
    """Measure and print one JSON line per benchmark. Return 0 if no trigger failed."""
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder_name:
        folder = Path(folder_name)
        with Stack(folder / "stack", changes=ROOT / "changes", fresh=True, report=_log) as stack:
            history = History(stack)
            raise_priority(os.getpid())  # a wait of the measuring process for the CPU would count as latency
            with _admin(stack, folder) as (admin, relay):
                return Bench(stack, admin, relay, history).run()


class History:
    """The benchmark's jobs, and 10,000 runs of one of them: copies of one run that was executed."""

    def __init__(self, stack: Stack) -> None:
        with httpx.Client(base_url=f"{stack.prefect_url}/api", timeout=60, trust_env=False) as api:
            api.post("/work_pools/", json={"name": IDLE_POOL, "type": "process"}).raise_for_status()
            self.triggered = _deployment(
                api, "benchmarks.flows.first_line", "bench-first-line", IDLE_POOL, "bench-triggered"
            )
            self.patient = _deployment(api, "benchmarks.flows.patient", "bench-patient", POOL, "bench-patient")
            path = f"/deployments/{self.patient}/create_flow_run"
            run = api.post(path, json={"parameters": {"seconds": 3}}).raise_for_status().json()["id"]
            _wait_until(
                lambda: api.get(f"/flow_runs/{run}").json()["state"]["type"] == "COMPLETED", "the first run to end"
            )
        database = stack.environment["PREFECT_API_DATABASE_CONNECTION_URL"].replace("+asyncpg", "")
        self.ids = make_history(database, run, HISTORY)


class Bench:
    """One stack with history, and one admin process behind a counting relay."""

    def __init__(self, stack: Stack, admin: str, relay: CountingRelay, history: History) -> None:
        self.admin = Connection(admin, stack.token)
        self.prefect = Connection(stack.prefect_url)
        self.relay = relay
        self.url, self.token = admin, stack.token
        self.history = history

    def run(self) -> int:
        """Run all benchmarks, one after the other."""
        ids = self.history.ids
        _wait_until(lambda: ids[PAGE // 2] in self._listed(), "the history to be listed")
        _wait_until(lambda: self._request_rate(3.0) == 0, "the admin process to finish reading the history")
        first_reads = [self.admin.timed("GET", f"/runs/{run_id}") for run_id in ids[:40]]
        list_idle, _ = self._lists("admin/list", history=HISTORY)
        detail_idle, _ = self._details(
            "admin/detail", ids[:20], first_look_p50_ms=round(statistics.median(first_reads), 2)
        )
        running_ids = [self._start({"seconds": RUN_FOR_S}) for _ in range(RUNNING)]
        _wait_until(lambda: all(self._state(run_id) == "RUNNING" for run_id in running_ids), "20 running runs", 400)
        list_busy, _ = self._lists("admin/list-while-20-run", history=HISTORY)
        detail_busy, _ = self._details("admin/detail-while-20-run", running_ids)
        _compare("admin/list-idle-or-busy", list_busy, "idle", list_idle)
        _compare("admin/detail-idle-or-busy", detail_busy, "idle", detail_idle)
        self._viewers(running_ids)
        self._trigger()
        return self._burst()

    def _lists(self, name: str, **extra: Any) -> tuple[list[float], list[float]]:
        body = {"deployments": {"tags": {"all_": ["job"]}}, "limit": PAGE, "sort": "EXPECTED_START_TIME_DESC"}
        return self._in_turn(
            name,
            lambda _: self.admin.timed("GET", f"/runs?limit={PAGE}"),
            "prefect-filter",
            lambda _: self.prefect.timed("POST", "/api/flow_runs/filter", body),
            **extra,
        )

    def _details(self, name: str, ids: list[str], **extra: Any) -> tuple[list[float], list[float]]:
        return self._in_turn(
            name,
            lambda number: self.admin.timed("GET", f"/runs/{ids[number % len(ids)]}"),
            "prefect-read",
            lambda number: self.prefect.timed("GET", f"/api/flow_runs/{ids[number % len(ids)]}"),
            **extra,
        )

    def _in_turn(
        self, name: str, ours: Callable[[int], float], peer: str, theirs: Callable[[int], float], **extra: Any
    ) -> tuple[list[float], list[float]]:
        for number in range(30):  # warm up both
            ours(number), theirs(number)
        a, b = [], []
        for number in range(READS):
            a.append(ours(number))
            b.append(theirs(number))
        _compare(name, a, peer, b, **extra)
        return a, b

    def _viewers(self, running: list[str]) -> None:
        """Compare the requests to Prefect per second with 200 viewers and without any, before and after.

        Long runs have many steps, which the admin process reads page by page from time to time.
        """
        before = self._request_rate(WATCHED_S)
        with connected_viewers(self.url, self.token, running, VIEWERS) as viewers:
            _wait_until(lambda: viewers.open == VIEWERS, "200 viewers to watch")
            watched_rate = self._request_rate(WATCHED_S)
            events, lost_viewers = viewers.events, VIEWERS - viewers.open
        idle_rate = round((before + self._request_rate(WATCHED_S)) / 2, 2)
        line = {"name": "admin/requests-to-prefect", "unit": "1/s", "ours": watched_rate, "peer": "nobody-watches"}
        extra = {"viewers": VIEWERS, "events_told": events, "lost_viewers": lost_viewers}
        _print_line(line | {"theirs": idle_rate, "ratio": round(idle_rate / watched_rate, 2)} | extra)

    def _request_rate(self, seconds: float) -> float:
        before = self.relay.requests
        time.sleep(seconds)
        return round((self.relay.requests - before) / seconds, 2)

    def _trigger(self) -> None:
        """Measure triggers. All pass through the relay, in alternating order, so that follow-up work affects all alike."""
        relayed = Connection(f"http://{HOST}:{self.relay.port}")
        path = f"/api/deployments/{self.history.triggered}/create_flow_run"
        ours: list[float] = []
        theirs: list[float] = []
        repeatable: list[float] = []
        for number in range(TRIGGERS):
            triggers: list[tuple[list[float], Connection, str, dict[str, Any]]] = [
                (ours, self.admin, "/jobs/bench-triggered/runs", {}),
                (theirs, relayed, path, {"parameters": {}}),
                (repeatable, relayed, path, {"parameters": {}, "idempotency_key": uuid.uuid4().hex}),
            ]
            for latencies, connection, target, body in triggers if number % 2 else reversed(triggers):
                latencies.append(connection.timed("POST", target, body))
        _compare("admin/trigger", ours, "bare-create", theirs, at=0.5)
        _compare("admin/trigger", ours, "bare-create-that-may-be-repeated", repeatable, at=0.5)

    def _burst(self) -> int:
        """Trigger 300 runs from each of 8 clients, as fast as the service answers. Return 0 if all succeeded once."""
        ids: list[str] = []
        errors: list[str] = []
        lock = threading.Lock()

        def client(number: int) -> None:
            connection = Connection(self.url, self.token)
            for trigger in range(BURST):
                headers = {"Idempotency-Key": f"{number}-{trigger}"}
                status, body = connection.request("POST", "/jobs/bench-triggered/runs", {}, headers)
                with lock:
                    (ids if status == 202 else errors).append(body.get("id") or str(body)[:300])

        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
        seconds = time.perf_counter() - began
        doubled = len(ids) - len(set(ids))
        line = {"name": "admin/burst", "unit": "1/s", "ours": round(len(ids) / seconds, 1), "clients": CLIENTS}
        _print_line(line | {"triggers": CLIENTS * BURST, "errors": len(errors), "doubled": doubled})
        for error in errors[:3]:
            _log(error)
        return 1 if errors or doubled else 0

    def _listed(self) -> set[str]:
        return {run["id"] for run in self.admin.get(f"/runs?limit={PAGE}")["runs"]}

    def _start(self, parameters: dict[str, Any]) -> str:
        path = f"/api/deployments/{self.history.patient}/create_flow_run"
        return str(self.prefect.request("POST", path, {"parameters": parameters})[1]["id"])

    def _state(self, run_id: str) -> str:
        return str(self.admin.get(f"/runs/{run_id}")["state"]["type"])


@contextmanager
def _admin(stack: Stack, folder: Path) -> Iterator[tuple[str, CountingRelay]]:
    """Start an admin process that reaches Prefect through the relay. Its limit of triggers per caller is lifted."""
    [port] = free_ports([0])
    with CountingRelay(stack.ports["prefect"]) as relay:
        environment = {
            **stack.environment,
            "PREFECT_API_URL": f"http://{HOST}:{relay.port}/api",
            "SLIPWAY_TRIGGERS_PER_MINUTE": "1000000",
        }
        part = admin_part(environment, port, folder / "admin.log")
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


def _wait_until(condition: Callable[[], object], description: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {description}")
        time.sleep(0.2)


def _compare(name: str, ours: list[float], peer: str, theirs: list[float], *, at: float = 0.99, **extra: Any) -> None:
    a, b = _quantile(ours, at), _quantile(theirs, at)
    line = {"name": name, "unit": "ms", "quantile": at, "ours": round(a, 2), "peer": peer, "theirs": round(b, 2)}
    medians = {"p50": round(statistics.median(ours), 2), "their_p50": round(statistics.median(theirs), 2)}
    _print_line(line | {"ratio": round(b / a, 2)} | medians | extra)


def _quantile(values: list[float], at: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(at * 100) - 1]


def _print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
