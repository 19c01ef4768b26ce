"""Compare the probe with a raw socket (and with wrk, if it is installed), alternating, on the same cache.

The reported numbers are compared: the median for a page that takes one millisecond, for a cache hit, and at 3,000
requests per second, and the 99th percentile while the origin stalls every two seconds. The raw socket is an open loop
too: the latency of a request counts from its due time. wrk is a closed loop that keeps its connection, and so the server,
busy. An idle server is slower for both, so beside wrk the probe sends requests about as often as wrk.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from benchmarks.cached import cached_origin, get
from slipway.config.service import Probe, Service
from slipway.core.frozen import RouteAs
from slipway.deployments.processes import exit_on_sigterm
from slipway.measurement.probe import measure

ROUNDS = 5
CONNECTIONS = 64  # of the raw sockets, so that no request waits for an earlier response


def main() -> int:
    """Measure and print one JSON line per comparison."""
    exit_on_sigterm()
    with cached_origin() as (kind, url, origin):
        get(f"{url}/hit/1")
        for name, route, busy in (("1ms", "/1ms", 600), ("hit", "/hit/1", 3_000)):
            ours = _rounds(lambda: _probe(url, route, 100, 5))  # noqa: B023 - called at once
            raw = _rounds(lambda: _raw(url, route, 100, 5, 1))  # noqa: B023
            _print(f"probe/median-{name}", "raw-socket", ours, raw, kind)
            if shutil.which("wrk"):
                ours = _rounds(lambda: _probe(url, route, busy, 5))  # noqa: B023
                _print(f"probe/median-{name}-busy", "wrk", ours, _rounds(lambda: _wrk(url, route)), kind)  # noqa: B023
        fast = [_probe(url, "/hit/1", 3_000, 5) for _ in range(ROUNDS)]
        raw = _rounds(lambda: _raw(url, "/hit/1", 100, 5, 1))
        _print(
            "probe/median-at-3000-per-s",
            "raw-socket-at-100-per-s",
            statistics.median(p50 for p50, _ in fast),
            raw,
            kind,
        )
        get(f"{origin}/stall")
        stalled = [
            (_probe(origin, "/fast", 200, 10)[1], _raw(origin, "/fast", 200, 10, CONNECTIONS)[1]) for _ in range(3)
        ]
        ours, theirs = (statistics.median(side) for side in zip(*stalled, strict=True))
        _print("probe/p99-under-stalls", "raw-sockets-open-loop", ours, theirs, kind)
    return 0


def _rounds(measure_once: Callable[[], tuple[float, float]]) -> float:
    """Return the median of the medians of all rounds."""
    return statistics.median(measure_once()[0] for _ in range(ROUNDS))


def _print(name: str, peer: str, ours: float, theirs: float, cache: str) -> None:
    line = {
        "name": name,
        "unit": "ms",
        "ours": round(ours, 3),
        "peer": peer,
        "theirs": round(theirs, 3),
        "ratio": round(theirs / ours, 2),
        "apart_ms": round(ours - theirs, 3),
        "cache": cache,
    }
    print(json.dumps(line), flush=True)


def _probe(base: str, route: str, rate: float, seconds: float) -> tuple[float, float]:
    """Return the median and the 99th percentile in ms that the probe reports."""
    probe = Probe(bursts=20, requests=20, seconds=5).model_copy(
        update={"rate": rate, "seconds": seconds, "requests": int(rate * seconds / 20), "in_flight": 1_000}
    )
    service = Service(name="bench", url=base, routes=("/*",), probe=probe)
    window = measure(service, [RouteAs(route=route)])
    samples = [sample for measurement in window.measurements for sample in measurement.samples]
    errors = {sample.error for sample in samples} - {""}
    assert not errors, f"requests failed: {errors}"
    assert len(samples) >= rate * seconds * 0.99, "requests are missing"
    return _median_and_p99([sample.latency_ms for sample in samples])


def _raw(base: str, route: str, rate: float, seconds: float, connections: int) -> tuple[float, float]:
    """Return the same numbers for plain sockets, each in its own thread."""
    address = urlsplit(base)
    request = f"GET {route} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    start, interval = time.perf_counter() + 0.5, 1 / rate

    def send_requests(first: int) -> list[float]:
        latencies = []
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(first, int(rate * seconds), connections):
                due = start + number * interval
                time.sleep(max(0.0, due - 0.0005 - time.perf_counter()))
                while time.perf_counter() < due:
                    pass
                connection.sendall(request)
                _read_response(connection)
                latencies.append((time.perf_counter() - due) * 1_000)
        return latencies

    with ThreadPoolExecutor(connections) as pool:
        return _median_and_p99(
            [latency for latencies in pool.map(send_requests, range(connections)) for latency in latencies]
        )


def _read_response(connection: socket.socket) -> None:
    """Read one response with its body."""
    response = b""
    while b"\r\n\r\n" not in response:
        part = connection.recv(65_536)
        assert part, "the connection was closed"
        response += part
    head, _, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    assert length is not None, "the response has no Content-Length"
    while len(body) < int(length[1]):
        body += connection.recv(65_536)


def _wrk(base: str, route: str) -> tuple[float, float]:
    """Return the same numbers for wrk with one connection. It is a closed loop, and measures with its own clock."""
    command = ["wrk", "-t1", "-c1", "-d5s", "--latency", base + route]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    percentiles = {
        share: float(value) * {"us": 0.001, "ms": 1, "s": 1_000}[unit]
        for share, value, unit in PERCENTILE.findall(output)
    }
    return percentiles["50"], percentiles["99"]


PERCENTILE = re.compile(r"(\d+)%\s+([\d.]+)(us|ms|s)\b")


def _median_and_p99(latencies: list[float]) -> tuple[float, float]:
    return statistics.median(latencies), statistics.quantiles(latencies, n=100)[98]


if __name__ == "__main__":
    sys.exit(main())
