"""Wait until the stack's services answer at their usual speed: until their latency stops falling."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from statistics import median
from threading import Event

import httpx

from slipway.measurement.warm_up import settled

ROUND_S = 0.5  # for one median of each service
REQUESTS = 8  # per median
WITHIN_S = 60.0


def wait_until_settled(urls: Mapping[str, str], *, stopping: Event, within_s: float = WITHIN_S) -> list[str]:
    """Request a page of each service until all latencies stop falling.

    Args:
        urls: a page of each service, by the service's name
        stopping: ends the wait when it is set
        within_s: the longest wait, in seconds

    Returns the names of the services whose latency was still falling after that time; usually an empty list.
    """
    deadline = time.monotonic() + within_s
    medians: defaultdict[str, list[float]] = defaultdict(list)
    with httpx.Client(trust_env=False, timeout=10) as client:
        while not stopping.is_set():
            began = time.monotonic()
            for name, url in urls.items():
                medians[name].append(median(_latency_ms(client, url) for _ in range(REQUESTS)))
            unsettled = [name for name in urls if not settled(medians[name])]
            if not unsettled or time.monotonic() > deadline:
                return unsettled
            stopping.wait(max(0.0, began + ROUND_S - time.monotonic()))
    return []


def _latency_ms(client: httpx.Client, url: str) -> float:
    began = time.perf_counter()
    with suppress(httpx.HTTPError):  # the time until the error counts: a service that fails is not fast
        client.get(url)
    return (time.perf_counter() - began) * 1_000
