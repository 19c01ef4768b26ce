"""Measure the time from trigger to first line, the cost of a durable step, and 300 concurrent triggers.

The peers alternate with ours in the same stack: Prefect's process worker with default settings, and a bare persisted task.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from slipway.deployments.deploy import POOL, ROOT
from slipway.deployments.processes import Part, exit_on_sigterm
from slipway.deployments.stack import Stack

PEER_POOL = "bench-process"
ROUNDS = 7
TRIGGERS, CLIENTS = 300, 8


def main() -> int:
    """Measure and print one JSON line per benchmark. Return 0 if each trigger started exactly one run."""
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder_name:
        folder = Path(folder_name)
        with Stack(folder / "stack", changes=ROOT / "changes", fresh=True, report=_log) as stack:
            peer = _peer(stack, folder)
            try:
                return _measure(stack, folder)
            finally:
                peer.stop()


def _measure(stack: Stack, folder: Path) -> int:
    api = httpx.Client(base_url=f"{stack.prefect_url}/api", timeout=30, trust_env=False)
    with api:
        ours = _deployment(api, "benchmarks.flows.first_line", "bench-first-line", POOL, "bench-warm")
        theirs = _deployment(api, "benchmarks.flows.first_line", "bench-first-line", PEER_POOL, "bench-cold")
        stepping = _deployment(api, "benchmarks.flows.steps", "bench-steps", POOL, "bench-steps")
        _first_line(api, ours, folder)  # the first run of each is a warm-up
        _first_line(api, theirs, folder)
        starts = [(_first_line(api, ours, folder), _first_line(api, theirs, folder)) for _ in range(ROUNDS)]
        _print("start/first-line", "s", [a for a, _ in starts], "process-worker", [b for _, b in starts])
        _print_steps(api, stepping, folder)
        return _print_triggers(stack, api, ours)


def _print_steps(api: httpx.Client, deployment: str, folder: Path) -> None:
    file = folder / "steps"
    _run(api, deployment, {"file": str(file)})
    rows = [[float(part) for part in line.split()] for line in _wait_for_text(file).splitlines()]
    durable, bare = [row[1] * 1_000 for row in rows], [row[0] * 1_000 for row in rows]
    _print("step/durable", "ms", durable, "bare-persisted-task", bare)


def _print_triggers(stack: Stack, api: httpx.Client, deployment: str) -> int:
    """Trigger runs through the admin service, and create runs directly at Prefect, from concurrent clients."""
    ours: list[float] = []
    theirs: list[float] = []
    ids: list[str] = []
    errors: list[str] = []
    lock = threading.Lock()

    def trigger(number: int) -> None:
        began = time.perf_counter()
        try:
            run = client.start("bench-warm", {}, key=f"bench-{number}")
            between = time.perf_counter()
            _run(api, deployment, {})
        except Exception as error:
            with lock:
                errors.append(str(error))
            return
        with lock:
            ours.append((between - began) * 1_000)
            theirs.append((time.perf_counter() - between) * 1_000)
            ids.append(run["id"])

    with stack.client() as client, ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(trigger, range(TRIGGERS)))
    lost, doubled = TRIGGERS - len(ids), len(ids) - len(set(ids))
    counts = {"triggers": TRIGGERS, "clients": CLIENTS, "errors": len(errors), "lost": lost, "doubled": doubled}
    _print("trigger/through-the-door", "ms", ours, "bare-create", theirs, **counts)
    for error in errors[:3]:
        _log(error)
    return 1 if errors or lost or doubled else 0


def _print(name: str, unit: str, ours: list[float], peer: str, theirs: list[float], **extra: Any) -> None:
    a, b = statistics.median(ours), statistics.median(theirs)
    line = {
        "name": name,
        "unit": unit,
        "ours": round(a, 3),
        "peer": peer,
        "theirs": round(b, 3),
        "ratio": round(b / a, 2),
    }
    print(json.dumps(line | extra), flush=True)


def _first_line(api: httpx.Client, deployment: str, folder: Path) -> float:
    """Return the seconds from just before the trigger to the first line of flow code."""
    file = folder / f"line-{time.monotonic_ns()}"
    began = time.time()
    _run(api, deployment, {"file": str(file)})
    return float(_wait_for_text(file)) - began


def _run(api: httpx.Client, deployment: str, parameters: dict[str, Any]) -> None:
    body = {"parameters": parameters}
    api.post(f"/deployments/{deployment}/create_flow_run", json=body).raise_for_status()


def _wait_for_text(file: Path, within_s: float = 120) -> str:
    deadline = time.monotonic() + within_s
    while not (file.exists() and file.read_text(encoding="utf-8")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no run wrote {file.name} within {within_s:.0f} s")
        time.sleep(0.005)
    return file.read_text(encoding="utf-8")


def _deployment(api: httpx.Client, entrypoint: str, flow: str, pool: str, name: str) -> str:
    flow_id = api.post("/flows/", json={"name": flow}).raise_for_status().json()["id"]
    schema = {"type": "object", "properties": {"file": {"type": "string"}}}
    body = {
        "name": name,
        "flow_id": flow_id,
        "entrypoint": entrypoint,
        "work_pool_name": pool,
        "tags": ["job"],
        "parameter_openapi_schema": schema,
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
    }
    return str(api.post("/deployments/", json=body).raise_for_status().json()["id"])


def _peer(stack: Stack, folder: Path) -> Part:
    """Start Prefect's own process worker with its default settings."""
    httpx.post(
        f"{stack.prefect_url}/api/work_pools/", json={"name": PEER_POOL, "type": "process"}, timeout=30, trust_env=False
    ).raise_for_status()
    defaults = {name: value for name, value in stack.environment.items() if name != "PREFECT_WORKER_QUERY_SECONDS"}
    log = folder / "peer.log"
    part = Part(
        name="process worker",
        argv=[sys.executable, "-m", "prefect", "worker", "start", "--pool", PEER_POOL, "--type", "process"],
        environment=defaults,
        directory=ROOT,
        log=log,
        ready=lambda: log.exists() and b"started" in log.read_bytes(),
    )
    part.start()
    part.wait_until_ready(threading.Event())
    return part


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
