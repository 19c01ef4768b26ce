"""Measure a verified purge of one route in a cache with 10,000 objects, and count other objects that are lost.

The peer purges by hand, once, without verification. The verification is the difference. The wait between the two purges,
which the service's owner sets, is 0 here.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

import httpx

from benchmarks.cached import TOKEN, cached_origin
from slipway.caching.purge import purge_routes
from slipway.config.service import Cache, Service
from slipway.core.settings import EnvironmentReference
from slipway.deployments.processes import exit_on_sigterm

OBJECTS, ROUNDS = 10_000, 7
VARIABLE = "BENCH_PURGE_TOKEN"


def main() -> int:
    """Measure and print one JSON line. Return 0 if no other object was lost."""
    exit_on_sigterm()
    os.environ[VARIABLE] = TOKEN
    with cached_origin() as (kind, url, _), httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        routes = [f"/hit/{number}" for number in range(OBJECTS)]
        for route in routes:
            client.get(route)
        rounds = [(_ours(kind, url, routes[number]), _theirs(kind, url, routes[-1])) for number in range(ROUNDS)]
        client.get(routes[-1])  # the route that the peer has purged
        lost = sum(client.get(route).headers["X-Cache"] != "HIT" for route in routes)
        ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    line = {
        "name": "purge/verified",
        "unit": "s",
        "ours": round(ours, 3),
        "peer": "curl-without-verifying",
        "theirs": round(theirs, 3),
        "ratio": round(theirs / ours, 2),
        "cache": kind,
        "objects": OBJECTS,
        "others_lost": lost,
    }
    print(json.dumps(line), flush=True)
    return 1 if lost else 0


def _ours(kind: str, url: str, route: str) -> float:
    cache = Cache(
        kind=kind,
        url=url,
        token=EnvironmentReference(env=VARIABLE),
        origin_timeout_s=0,
        controls=tuple(f"/hit/{number}" for number in range(100, 103)),
    )
    service = Service(name="bench", url=url, routes=("/hit/*",), cache=cache)
    began = time.perf_counter()
    result = purge_routes(service, [route], [])
    seconds = time.perf_counter() - began
    assert [reading.first for reading in result.affected] == ["miss"], "the purged route was still stored"
    assert {reading.first for reading in result.controls} == {"hit"}, "a control was lost"
    return seconds


def _theirs(kind: str, url: str, route: str) -> float:
    arguments = ["-X", "PURGE", url + route] if kind == "varnish" else [f"{url}/purge{route}"]
    began = time.perf_counter()
    subprocess.run(["curl", "-sS", "-o", os.devnull, "-H", f"X-Purge-Token: {TOKEN}", *arguments], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
