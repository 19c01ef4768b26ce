"""Keeping the read model in step with Prefect: events as they come, and the state read after every gap and now and then.

However many people look, this asks Prefect the same: nothing while nothing happens, and a few batches a second at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice

from slipway.admin.events import Change, changes_of
from slipway.admin.prefect_api import MOST, Document, Prefect
from slipway.admin.read_model import (
    IN_FLIGHT,
    MOST_RUNS,
    NEWEST,
    OVER,
    WINDOW,
    Key,
    ReadModel,
    key_of,
    micros,
    moment_of,
)
from slipway.admin.subscription import LOST, subscribed
from slipway.core.errors import Unavailable

GATHER_S, BATCH_EVERY_S, TRIES = 0.05, 0.3, 5
READ_WITHIN_S = 30.0  # a busy server is not away; readers have what is known meanwhile
SAFETY_EVERY_S = 30.0  # events may be dropped on the way
SOON_S = 2.0  # after a connection, as Prefect does not say when a subscription holds; and while there is none
WHOLE_EVERY_S = 600.0  # everything anew, for what was deleted
MARGIN = timedelta(minutes=1)  # of clocks that differ
AT_ONCE = 20
STEPS_OF = 50  # runs in one request
LATELY = 200  # runs that people look at first
FAILED = (Unavailable, ValueError, KeyError, TypeError)
log = logging.getLogger("slipway.admin")


class Synchroniser:
    """Keeps one read model in step, from `start` to `close`; `read_jobs` reads the jobs' names by their ids."""

    def __init__(self, prefect: Prefect, model: ReadModel, read_jobs: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self.connected = False
        self.tried = asyncio.Event()  # the newest runs are there, and readers can be answered, or Prefect is not
        self._prefect = prefect.patient(READ_WITHIN_S)
        self._model = model
        self._read_jobs = read_jobs
        self._in_step = False
        self._synced_to: datetime | None = None
        self._whole_at = 0.0
        self._changed: dict[str, int] = {}  # runs to be read, and how often that was in vain
        self._some_changed = asyncio.Event()
        self._now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; safe to repeat."""
        if not self._tasks:
            loops = (self._follow(), self._resync_again_and_again(), self._read_changed())
            self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def resync(self) -> None:
        """Read what has changed since the last time, or everything. Raises Unavailable."""
        began, moment = datetime.now(UTC), time.monotonic()
        whole = self._synced_to is None or moment - self._whole_at > WHOLE_EVERY_S
        oldest = began - WINDOW
        since = oldest if whole or self._synced_to is None else max(oldest, self._synced_to - MARGIN)
        self._model.rename(await self._read_jobs())
        reached = await self._read_down(began + MARGIN, since, whole=whole)
        await self._read_on_their_way(began)
        await self._read_planned(began)
        await self._read_steps()
        if whole:
            for run_id in self._model.unseen_since(moment, reached):
                self._model.forget(run_id)
            self._whole_at = moment
        self._synced_to = began
        self._model.confirm(began)

    async def _read_down(self, before: datetime, since: datetime, *, whole: bool) -> Key:
        """Read the runs from the newest down to a time, as many as there is room for; returns how far down it came."""
        count = 0
        while True:
            page = await self._prefect.runs(before=before, since=since)
            await self._put(page)
            count += len(page)
            done = len(page) < MOST
            reached = (micros(since.isoformat()), "") if done else key_of(page[-1])
            if whole:
                self._model.reach(reached if done else (reached[0] + 1, ""))
                self._model.confirm(before - MARGIN if count <= MOST else self._model.as_of)
                self.tried.set()
            if done or count >= MOST_RUNS:
                return self._model.whole_from if whole else reached
            lowest = moment_of(reached[0])
            before = lowest if lowest < before else before - timedelta(microseconds=1)  # a page of one moment

    async def _read_on_their_way(self, began: datetime) -> None:
        """Read what is on its way, however old, and what only we believe to be."""
        states = [*IN_FLIGHT, "SCHEDULED"]
        found = await self._prefect.runs(states=states, before=began + MARGIN)
        await self._put(found)
        seen, latest = {run["id"] for run in found}, micros((began + MARGIN).isoformat())
        believed = [known for known in self._model.having(*states) if known.key[0] <= latest]
        await self._read([known.key[1] for known in believed if known.key[1] not in seen])

    async def _read_planned(self, began: datetime) -> None:
        """Read the next runs of the schedules; a schedule that is switched off takes them away."""
        found = await self._prefect.runs(states=["SCHEDULED"], since=began, planned_first=True)
        await self._put(found)
        seen = {run["id"] for run in found}
        last = key_of(found[-1]) if len(found) == MOST else (2**62, "")
        for known in self._model.having("SCHEDULED"):
            if micros((began + MARGIN).isoformat()) < known.key[0] and known.key <= last and known.key[1] not in seen:
                self._model.forget(known.key[1])

    async def _read_steps(self) -> None:
        """Read the steps of what runs, and of what ended lately; those that are known stay good until all have been read."""
        newest = [known for known in islice(self._model.below(NEWEST), LATELY) if not known.steps_final]
        ended = [known for known in newest if known.run["state"]["type"] in OVER]
        running = [known.key[1] for known in [*self._model.having(*IN_FLIGHT), *ended]]
        steps: dict[str, list[Document]] = {run_id: [] for run_id in running}
        for some in _in_parts(running, STEPS_OF):
            for step in await self._prefect.steps(some):
                steps.setdefault(step["flow_run_id"], []).append(step)
        self._model.round += 1
        for run_id, its in steps.items():
            self._model.take_steps(run_id, its, whole=True)

    async def _read(self, run_ids: list[str]) -> None:
        for some in _in_parts(run_ids, MOST):
            found = await self._prefect.runs(ids=some)
            await self._put(found)
            for run_id in set(some) - {run["id"] for run in found}:
                self._model.forget(run_id)

    async def _put(self, runs: Iterable[Document]) -> None:
        for number, run in enumerate(runs):
            if not self._model.put(run):
                self._read_again(run["id"])
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # readers come in between

    def _read_again(self, run_id: str) -> None:
        """An event was faster than the transaction that it tells of."""
        self._changed[run_id] = self._changed.get(run_id, 0) + 1
        self._some_changed.set()

    async def _follow(self) -> None:
        """Follow the events for ever; what ends a connection is a gap, and a gap is followed by a resync."""
        pause = 0.5
        while True:
            try:
                async with subscribed(self._prefect.api_url, self._prefect.auth, self._beat) as events:
                    self.connected, pause = True, 0.5
                    self.soon()
                    async for event in events:
                        self._take(changes_of(event))
            except LOST as error:
                log.warning("the events of Prefect are lost: %s: %s", type(error).__name__, error)
            self.connected = self._in_step = False
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    def _beat(self) -> None:
        if self._in_step and not self._now.is_set():
            self._model.confirm(datetime.now(UTC))

    def _take(self, change: Change | None) -> None:
        if change is None:
            return
        if change.kind == "job":
            self.soon()
        elif change.kind == "step":
            self._model.take_steps(change.run_id, [change.body])
        elif self._model.take_state(change.run_id, change.body, change.at):
            self._changed[change.run_id] = 0
            self._some_changed.set()

    def soon(self) -> None:
        """Read the state at once; until that is done nothing is said to be as of now."""
        self._in_step = False
        self._now.set()

    async def _resync_again_and_again(self) -> None:
        failures = 0
        while True:
            again = self._now.is_set()
            self._now.clear()
            try:
                await self.resync()
                self._in_step = self.connected
                failures, wait = 0, SAFETY_EVERY_S if self.connected and not again else SOON_S
            except FAILED as error:
                self._in_step = False
                self.tried.set()
                failures, wait = failures + 1, min(10.0, 0.5 * 2.0**failures)
                log.warning("Prefect could not be read: %s", error)
            await _until(self._now, wait)

    async def _read_changed(self) -> None:
        """Read the runs that events told of, many at a time."""
        while True:
            await self._some_changed.wait()
            await asyncio.sleep(GATHER_S)
            some = {run_id: tries for run_id, tries in list(self._changed.items())[:MOST] if tries < TRIES}
            self._changed = dict(list(self._changed.items())[MOST:])
            if not self._changed:
                self._some_changed.clear()
            try:
                for run in await self._prefect.runs(ids=list(some)) if some else []:
                    if not self._model.put(run):
                        self._changed[run["id"]] = some[run["id"]] + 1
                        self._some_changed.set()
            except FAILED:
                self.soon()
            await asyncio.sleep(BATCH_EVERY_S)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _in_parts(run_ids: list[str], most: int) -> Iterable[list[str]]:
    return (run_ids[begin : begin + most] for begin in range(0, len(run_ids), most))
