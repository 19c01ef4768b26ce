"""Synchronise the read model with Prefect: apply events, and read the full state after every gap and at intervals.

The load on Prefect does not depend on the number of readers: nothing between events, and at most a few batches per second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice

from slipway.admin.events import Change, changes_of
from slipway.admin.prefect_api import PAGE_SIZE, Document, Prefect
from slipway.admin.read_model import (
    IN_FLIGHT,
    MAX_RUNS,
    NEWEST,
    OVER,
    WINDOW,
    Key,
    ReadModel,
    key_of,
    micros,
    moment_of,
)
from slipway.admin.subscription import CONNECTION_ERRORS, subscribed
from slipway.core.errors import Unavailable

GATHER_S, BATCH_EVERY_S, MAX_TRIES = 0.05, 0.3, 5
READ_WITHIN_S = 30.0  # a busy server may be slow; readers get the current model in the meantime
SAFETY_EVERY_S = 30.0  # Prefect may drop events
SOON_S = 2.0  # after a connect, because Prefect does not confirm subscriptions; and while disconnected
FULL_READ_EVERY_S = 600.0  # to find deleted runs
MARGIN = timedelta(minutes=1)  # for differences between clocks
YIELD_EVERY = 20
RUNS_PER_REQUEST = 50  # for reads of steps
RECENT_RUNS = 200  # the newest runs, which readers open most
FAILED = (Unavailable, ValueError, KeyError, TypeError)
log = logging.getLogger("slipway.admin")


class Synchroniser:
    """Synchronises one read model, from `start` to `close`; `read_jobs` returns the job names by deployment id."""

    def __init__(self, prefect: Prefect, model: ReadModel, read_jobs: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self.connected = False
        self.first_read_done = asyncio.Event()  # set once the newest runs are read, or the first read has failed
        self._prefect = prefect.with_timeout(READ_WITHIN_S)
        self._model = model
        self._read_jobs = read_jobs
        self._is_current = False
        self._synced_to: datetime | None = None
        self._full_read_at = 0.0
        self._changed: dict[str, int] = {}  # runs to read, with the number of failed attempts
        self._has_changed = asyncio.Event()
        self._resync_requested = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the background tasks; safe to repeat."""
        if not self._tasks:
            loops = (self._follow(), self._resync_periodically(), self._read_changed())
            self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        """Stop the background tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def resync(self) -> None:
        """Read the runs that changed since the last read, or all runs. Raises Unavailable."""
        began, moment = datetime.now(UTC), time.monotonic()
        complete = self._synced_to is None or moment - self._full_read_at > FULL_READ_EVERY_S
        oldest = began - WINDOW
        since = oldest if complete or self._synced_to is None else max(oldest, self._synced_to - MARGIN)
        self._model.rename(await self._read_jobs())
        reached = await self._read_down(began + MARGIN, since, complete=complete)
        await self._read_in_flight(began)
        await self._read_planned(began)
        await self._read_steps()
        if complete:
            for run_id in self._model.not_seen_since(moment, reached):
                self._model.forget(run_id)
            self._full_read_at = moment
        self._synced_to = began
        self._model.confirm(began)

    async def _read_down(self, before: datetime, since: datetime, *, complete: bool) -> Key:
        """Read the runs from the newest down to a time, at most MAX_RUNS. Return the position that was reached."""
        count = 0
        while True:
            page = await self._prefect.runs(before=before, since=since)
            await self._put(page)
            count += len(page)
            done = len(page) < PAGE_SIZE
            reached = (micros(since.isoformat()), "") if done else key_of(page[-1])
            if complete:
                self._model.reach(reached if done else (reached[0] + 1, ""))
                self._model.confirm(before - MARGIN if count <= PAGE_SIZE else self._model.as_of)
                self.first_read_done.set()
            if done or count >= MAX_RUNS:
                return self._model.complete_from if complete else reached
            lowest = moment_of(reached[0])
            before = lowest if lowest < before else before - timedelta(microseconds=1)  # a page of equal times

    async def _read_in_flight(self, began: datetime) -> None:
        """Read all runs in flight, of any age, and the runs that are in flight only in the model."""
        states = [*IN_FLIGHT, "SCHEDULED"]
        runs = await self._prefect.runs(states=states, before=began + MARGIN)
        await self._put(runs)
        ids, latest = {run["id"] for run in runs}, micros((began + MARGIN).isoformat())
        in_model = [entry for entry in self._model.in_states(*states) if entry.key[0] <= latest]
        await self._read([entry.key[1] for entry in in_model if entry.key[1] not in ids])

    async def _read_planned(self, began: datetime) -> None:
        """Read the next runs of the schedules. Prefect deletes them when a schedule is switched off."""
        runs = await self._prefect.runs(states=["SCHEDULED"], since=began, planned_first=True)
        await self._put(runs)
        ids = {run["id"] for run in runs}
        last = key_of(runs[-1]) if len(runs) == PAGE_SIZE else (2**62, "")
        for entry in self._model.in_states("SCHEDULED"):
            if micros((began + MARGIN).isoformat()) < entry.key[0] and entry.key <= last and entry.key[1] not in ids:
                self._model.forget(entry.key[1])

    async def _read_steps(self) -> None:
        """Read the steps of runs in flight and of recently ended runs. The old steps stay valid until all are read."""
        newest = [entry for entry in islice(self._model.below(NEWEST), RECENT_RUNS) if not entry.steps_final]
        ended = [entry for entry in newest if entry.run["state"]["type"] in OVER]
        running = [entry.key[1] for entry in [*self._model.in_states(*IN_FLIGHT), *ended]]
        steps: dict[str, list[Document]] = {run_id: [] for run_id in running}
        for batch in _batches(running, RUNS_PER_REQUEST):
            for step in await self._prefect.steps(batch):
                steps.setdefault(step["flow_run_id"], []).append(step)
        self._model.round += 1
        for run_id, of_run in steps.items():
            self._model.take_steps(run_id, of_run, complete=True)

    async def _read(self, run_ids: list[str]) -> None:
        for batch in _batches(run_ids, PAGE_SIZE):
            runs = await self._prefect.runs(ids=batch)
            await self._put(runs)
            for run_id in set(batch) - {run["id"] for run in runs}:
                self._model.forget(run_id)

    async def _put(self, runs: Iterable[Document]) -> None:
        for number, run in enumerate(runs):
            if not self._model.put(run):
                self._read_again(run["id"])
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)  # let waiting requests run

    def _read_again(self, run_id: str) -> None:
        """Read a run again, because its event arrived before Prefect had committed the transaction."""
        self._changed[run_id] = self._changed.get(run_id, 0) + 1
        self._has_changed.set()

    async def _follow(self) -> None:
        """Apply events until cancelled. A resync follows every reconnect, because events may be missing."""
        pause = 0.5
        while True:
            try:
                async with subscribed(self._prefect.api_url, self._prefect.auth, self._beat) as events:
                    self.connected, pause = True, 0.5
                    self.request_resync()
                    async for event in events:
                        self._take(changes_of(event))
            except CONNECTION_ERRORS as error:
                log.warning("The event subscription to Prefect was lost: %s: %s", type(error).__name__, error)
            self.connected = self._is_current = False
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    def _beat(self) -> None:
        if self._is_current and not self._resync_requested.is_set():
            self._model.confirm(datetime.now(UTC))

    def _take(self, change: Change | None) -> None:
        if change is None:
            return
        if change.kind == "job":
            self.request_resync()
        elif change.kind == "step":
            self._model.take_steps(change.run_id, [change.body])
        elif self._model.take_state(change.run_id, change.body, change.at):
            self._changed[change.run_id] = 0
            self._has_changed.set()

    def request_resync(self) -> None:
        """Start a resync at once. The model is not confirmed as current until the resync is done."""
        self._is_current = False
        self._resync_requested.set()

    async def _resync_periodically(self) -> None:
        failures = 0
        while True:
            requested = self._resync_requested.is_set()
            self._resync_requested.clear()
            try:
                await self.resync()
                self._is_current = self.connected
                failures, wait = 0, SAFETY_EVERY_S if self.connected and not requested else SOON_S
            except FAILED as error:
                self._is_current = False
                self.first_read_done.set()
                failures, wait = failures + 1, min(10.0, 0.5 * 2.0**failures)
                log.warning("Could not read Prefect: %s", error)
            await _until(self._resync_requested, wait)

    async def _read_changed(self) -> None:
        """Read the runs that events reported, in batches."""
        while True:
            await self._has_changed.wait()
            await asyncio.sleep(GATHER_S)
            batch = {run_id: tries for run_id, tries in list(self._changed.items())[:PAGE_SIZE] if tries < MAX_TRIES}
            self._changed = dict(list(self._changed.items())[PAGE_SIZE:])
            if not self._changed:
                self._has_changed.clear()
            try:
                for run in await self._prefect.runs(ids=list(batch)) if batch else []:
                    if not self._model.put(run):
                        self._changed[run["id"]] = batch[run["id"]] + 1
                        self._has_changed.set()
            except FAILED:
                self.request_resync()
            await asyncio.sleep(BATCH_EVERY_S)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _batches(run_ids: list[str], size: int) -> Iterable[list[str]]:
    return (run_ids[begin : begin + size] for begin in range(0, len(run_ids), size))
