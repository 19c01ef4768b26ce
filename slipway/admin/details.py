"""The details of runs: Prefect's steps and the outcomes in our store, built once for all viewers.

A detail is consistent: its state and its outcomes belong together, even while the run is in flight. While a user views
the run, the detail is at most one second old, and is rebuilt 0.1 s after an event about the run.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from slipway.admin.prefect_api import Document, Prefect
from slipway.admin.problems import NotFound
from slipway.admin.read_model import OVER, ReadModel, micros, now_micros
from slipway.admin.runs import condensed, detail
from slipway.admin.single_flight import SingleFlight
from slipway.core.errors import Unavailable
from slipway.runs.store import Outcome, Store

MAX_DETAILS = 200
FRESH_S, SERVED_S = 1.0, 3.0  # between the two ages, a detail is served while a newer one is built
VIEWED_WITHIN_S = 10.0  # an event rebuilds a detail at once if it was viewed within this time
GATHER_S = 0.1  # a step causes several events in short order
STEPS_WITHIN_S = 1.0
SETTLED_US = 2_000_000  # this long after its end, a run does not change any more


@dataclass(slots=True)
class Detail:
    """Everything about one run, as a document and as JSON without its closing brace; `missing` lists what could not be read."""

    doc: Document
    head: bytes
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    outcome_times: dict[str, datetime] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    built: float = 0.0
    viewed_at: float = 0.0
    final: bool = False

    @property
    def is_steady(self) -> bool:
        """Whether the run is in flight and nothing is missing. Only an event or a new outcome changes such a detail."""
        return self.built > 0.0 and not self.missing and self.doc["state"]["type"] not in OVER

    def is_viewed(self, now: float) -> bool:
        """Whether a reader requested the detail within the last 10 s."""
        return now - self.viewed_at < VIEWED_WITHIN_S


Listener = Callable[[str, Document | None, Detail], None]


class Details:
    """A cache of the details that were viewed last."""

    def __init__(self, model: ReadModel, prefect: Prefect, store: Store) -> None:
        self.listeners: list[Listener] = []
        self._model = model
        self._prefect = prefect
        self._store = store
        self._details: OrderedDict[str, Detail] = OrderedDict()
        self._building: SingleFlight[Detail] = SingleFlight(0.0, 0)
        self._steps: SingleFlight[list[Document]] = SingleFlight(1.0)
        self._older_runs: SingleFlight[Document | None] = SingleFlight(2.0)  # runs that are not in the read model
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refreshing = False
        self._gathering: set[str] = set()
        self._changed_during_build: set[str] = set()
        model.listeners.append(self._run_changed)

    async def get(self, run_id: str) -> Detail:
        """Return a run's detail. Raises NotFound, and Unavailable if the run cannot be read."""
        cached, now = self._details.get(run_id), time.monotonic()
        if cached is None:
            return await self._build_now(run_id)
        cached.viewed_at = now
        age = now - cached.built
        if cached.final or age <= FRESH_S:
            return cached
        if age <= SERVED_S:
            self._refresh_soon(run_id)
            return cached
        return await self._build_now(run_id)

    def refresh(self, run_id: str) -> None:
        """Rebuild a watched detail if the run has changed."""
        if (cached := self._details.get(run_id)) is not None:
            cached.viewed_at = time.monotonic()
        self._refresh_soon(run_id)

    def expire(self, run_id: str) -> None:
        """Make the next reader wait for a new detail, after an action on the run."""
        if run_id in self._details:
            self._details[run_id].final, self._details[run_id].built = False, 0.0

    async def run(self, run_id: str) -> Document:
        """Return a run as Prefect has it, from the read model or, for an older run, from Prefect. Raises NotFound."""
        entry = self._model.get(run_id)
        if entry is not None:
            return entry.run
        run = await self._older_runs.get(run_id, lambda: self._prefect.run(run_id))
        if run is None:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run from GET /runs.")
        return run

    def _run_changed(self, run_id: str) -> None:
        cached = self._details.get(run_id)
        if cached is None:
            return
        cached.final = False
        self._changed_during_build.add(run_id)
        if not cached.is_viewed(time.monotonic()):
            cached.built = 0.0
        elif run_id not in self._gathering:
            self._gathering.add(run_id)
            asyncio.get_running_loop().call_later(GATHER_S, self._build_gathered, run_id)

    def _build_gathered(self, run_id: str) -> None:
        self._gathering.discard(run_id)
        self._build_soon(run_id)

    def _refresh_soon(self, run_id: str) -> None:
        """Check all viewed runs for new outcomes together; rebuild a detail that lacks something."""
        cached = self._details.get(run_id)
        if cached is None or not cached.is_steady:
            self._build_soon(run_id)
        elif not self._refreshing:
            self._refreshing = True
            self._track(asyncio.ensure_future(self._refresh_viewed()))

    async def _refresh_viewed(self) -> None:
        """Query our store once for all viewed details: many queries at once would delay every reader."""
        now = time.monotonic()
        viewed = {
            run_id: cached for run_id, cached in self._details.items() if cached.is_steady and cached.is_viewed(now)
        }
        try:
            outcome_times = await asyncio.to_thread(self._store.outcome_times, list(viewed))
        except Unavailable:
            outcome_times = {}  # each rebuilt detail lists the outcomes as missing
        finally:
            self._refreshing = False
        for run_id, cached in viewed.items():
            if self._details.get(run_id) is not cached or cached.built == 0.0:
                continue  # rebuilt in the meantime, or about to be
            if outcome_times.get(run_id) == cached.outcome_times and self._has_all_steps(run_id):
                cached.built = now
            else:
                self._build_soon(run_id)

    def _build_soon(self, run_id: str) -> None:
        self._track(asyncio.ensure_future(self._build_now(run_id)))

    def _track(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark the error as retrieved; the next reader retries, or gets the cached detail

    async def _build_now(self, run_id: str) -> Detail:
        return await self._building.get(run_id, lambda: self._build(run_id))

    async def _build(self, run_id: str) -> Detail:
        old = self._details.get(run_id)
        self._changed_during_build.discard(run_id)
        run = await self.run(run_id)  # before the outcomes, so that an ended run is never shown without its outcomes
        missing = []
        try:
            steps = await self._steps_of(run_id, run)
        except (Unavailable, TimeoutError, ValueError, TypeError):  # an invalid answer counts as no answer
            entry = self._model.get(run_id)
            steps, missing = list(entry.steps.values()) if entry else [], ["steps"]
        outcome_times, outcomes = (old.outcome_times, old.outcomes) if old else ({}, {})
        try:
            outcome_times, outcomes = await asyncio.to_thread(self._read_outcomes, run_id, outcome_times, outcomes)
        except Unavailable:
            missing.append("outcomes")
        return self._cache(run_id, run, steps, outcome_times, outcomes, tuple(missing))

    def _cache(
        self,
        run_id: str,
        run: Document,
        steps: list[Document],
        outcome_times: dict[str, datetime],
        outcomes: dict[str, Outcome],
        missing: tuple[str, ...],
    ) -> Detail:
        old, now = self._details.get(run_id), time.monotonic()
        steps.sort(key=lambda step: step.get("expected_start_time") or step.get("start_time") or "")
        doc = {**detail(run, steps, list(outcomes.values()), self._model.names), "missing": list(missing)}
        ended = run.get("end_time")
        final = not missing and run["state"]["type"] in OVER and bool(ended) and _settled(str(ended))
        viewed_at = old.viewed_at if old else now
        new = Detail(doc, to_json(doc)[:-1], outcomes, outcome_times, missing, now, viewed_at, final)
        self._details[run_id] = new
        self._details.move_to_end(run_id)
        while len(self._details) > MAX_DETAILS:
            self._details.popitem(last=False)
        for listener in self.listeners:
            listener(run_id, old.doc if old else None, new)
        if run_id in self._changed_during_build:
            new.built, new.final = 0.0, False
            asyncio.get_running_loop().call_soon(self._build_soon, run_id)
        return new

    def _has_all_steps(self, run_id: str) -> bool:
        """Whether the read model has all steps of a run in flight. A gap in the events may have hidden some."""
        entry = self._model.get(run_id)
        return entry is not None and entry.steps_round == self._model.round

    async def _steps_of(self, run_id: str, run: Document) -> list[Document]:
        """Return the steps, from the read model if it has all. Raises TimeoutError after STEPS_WITHIN_S."""
        entry = self._model.get(run_id)
        over = run["state"]["type"] in OVER
        if entry is not None and (entry.steps_final if over else self._has_all_steps(run_id)):
            return list(entry.steps.values())
        async with asyncio.timeout(STEPS_WITHIN_S):
            steps = await self._steps.get((run_id, over), lambda: self._prefect.steps([run_id]))
        if entry is None:
            return list(steps)
        self._model.take_steps(run_id, steps, complete=True)
        return list(entry.steps.values())

    def _read_outcomes(
        self, run_id: str, outcome_times: dict[str, datetime], outcomes: dict[str, Outcome]
    ) -> tuple[dict[str, datetime], dict[str, Outcome]]:
        """Return the outcomes and their times. Reads only new outcomes, because a window has many samples."""
        now = self._store.outcome_times([run_id])[run_id]
        changed = [step for step, at in now.items() if outcome_times.get(step) != at]
        if changed:
            outcomes = outcomes | {
                outcome.step: condensed(outcome) for outcome in self._store.outcomes_by(run_id, changed)
            }
        return now, {step: outcomes[step] for step in now if step in outcomes}


def _settled(ended: str) -> bool:
    return now_micros() - micros(ended) > SETTLED_US
