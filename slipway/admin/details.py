"""The details of runs: Prefect's steps, and what they left in our own store, put together once for everybody who looks.

A detail is whole: its state and what the steps left belong together, also while the run is on its way. It is at most a
second old while the run is looked at, and made again a tenth of a second after an event tells of the run.
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

MOST = 200
FRESH_S, SERVED_S = 1.0, 3.0  # up to the second it is served while a newer one is made
LOOKED_AT_S = 10.0  # so long after a look an event has the detail made anew at once
GATHERED_S = 0.1  # the events of a step come one behind the other
STEPS_WITHIN_S = 1.0
SETTLED_US = 2_000_000  # after a run's end nothing more comes


@dataclass(slots=True)
class Detail:
    """Everything about one run, as a document and as JSON without its closing brace; `missing` could not be read."""

    doc: Document
    head: bytes
    left: dict[str, Outcome] = field(default_factory=dict)
    marks: dict[str, datetime] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    built: float = 0.0
    looked_at: float = 0.0
    final: bool = False

    @property
    def is_steady(self) -> bool:
        """Whether it is of a run on its way, with nothing missing: only an event, or our own store, has news of it."""
        return self.built > 0.0 and not self.missing and self.doc["state"]["type"] not in OVER

    def is_looked_at(self, now: float) -> bool:
        """Whether somebody has looked at it lately."""
        return now - self.looked_at < LOOKED_AT_S


Listener = Callable[[str, Document | None, Detail], None]


class Details:
    """The details that somebody has looked at lately."""

    def __init__(self, model: ReadModel, prefect: Prefect, store: Store) -> None:
        self.listeners: list[Listener] = []
        self._model = model
        self._prefect = prefect
        self._store = store
        self._kept: OrderedDict[str, Detail] = OrderedDict()
        self._building: SingleFlight[Detail] = SingleFlight(0.0, 0)
        self._steps: SingleFlight[list[Document]] = SingleFlight(1.0)
        self._elsewhere: SingleFlight[Document | None] = SingleFlight(2.0)  # runs that are not in the model
        self._begun: set[asyncio.Task[Any]] = set()
        self._looking = False
        self._gathering: set[str] = set()
        self._changed_meanwhile: set[str] = set()
        model.listeners.append(self._changed)

    async def of(self, run_id: str) -> Detail:
        """A run's detail. Raises NotFound, and Unavailable when nothing is known of it."""
        kept, now = self._kept.get(run_id), time.monotonic()
        if kept is None:
            return await self._build_now(run_id)
        kept.looked_at = now
        age = now - kept.built
        if kept.final or age <= FRESH_S:
            return kept
        if age <= SERVED_S:
            self._look_soon(run_id)
            return kept
        return await self._build_now(run_id)

    def renew(self, run_id: str) -> None:
        """Make a detail anew where something is new, as somebody watches it."""
        if (kept := self._kept.get(run_id)) is not None:
            kept.looked_at = time.monotonic()
        self._look_soon(run_id)

    def expire(self, run_id: str) -> None:
        """The next who looks waits for a new one: somebody has done something to the run."""
        if run_id in self._kept:
            self._kept[run_id].final, self._kept[run_id].built = False, 0.0

    async def run(self, run_id: str) -> Document:
        """A run as Prefect tells it, from the model or, when it is older, from Prefect. Raises NotFound."""
        known = self._model.get(run_id)
        if known is not None:
            return known.run
        found = await self._elsewhere.get(run_id, lambda: self._prefect.run(run_id))
        if found is None:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run, as GET /runs lists them.")
        return found

    def _changed(self, run_id: str) -> None:
        kept = self._kept.get(run_id)
        if kept is None:
            return
        kept.final = False
        self._changed_meanwhile.add(run_id)
        if not kept.is_looked_at(time.monotonic()):
            kept.built = 0.0
        elif run_id not in self._gathering:
            self._gathering.add(run_id)
            asyncio.get_running_loop().call_later(GATHERED_S, self._build_gathered, run_id)

    def _build_gathered(self, run_id: str) -> None:
        self._gathering.discard(run_id)
        self._build_soon(run_id)

    def _look_soon(self, run_id: str) -> None:
        """Look for what is new, at once for all runs that are looked at; a detail that lacks something is made anew."""
        kept = self._kept.get(run_id)
        if kept is None or not kept.is_steady:
            self._build_soon(run_id)
        elif not self._looking:
            self._looking = True
            self._keep_task(asyncio.ensure_future(self._look()))

    async def _look(self) -> None:
        """One question to our own store for all details that are looked at: many at once would hold up every reader."""
        now = time.monotonic()
        seen = {run_id: kept for run_id, kept in self._kept.items() if kept.is_steady and kept.is_looked_at(now)}
        try:
            marks = await asyncio.to_thread(self._store.marks_of, list(seen))
        except Unavailable:
            marks = {}  # each that is made anew says that it lacks them
        finally:
            self._looking = False
        for run_id, kept in seen.items():
            if self._kept.get(run_id) is not kept or kept.built == 0.0:
                continue  # made anew meanwhile, or about to be
            if marks.get(run_id) == kept.marks and self._has_all_steps(run_id):
                kept.built = now
            else:
                self._build_soon(run_id)

    def _build_soon(self, run_id: str) -> None:
        self._keep_task(asyncio.ensure_future(self._build_now(run_id)))

    def _keep_task(self, task: asyncio.Task[Any]) -> None:
        self._begun.add(task)
        task.add_done_callback(self._built)

    def _built(self, task: asyncio.Task[Any]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # who looks next meets it, or what is known

    async def _build_now(self, run_id: str) -> Detail:
        return await self._building.get(run_id, lambda: self._build(run_id))

    async def _build(self, run_id: str) -> Detail:
        old = self._kept.get(run_id)
        self._changed_meanwhile.discard(run_id)
        run = await self.run(run_id)  # before what the steps left is read: an end is never shown without it
        missing = []
        try:
            steps = await self._steps_of(run_id, run)
        except (Unavailable, TimeoutError, ValueError, TypeError):  # nonsense is no answer, either
            known = self._model.get(run_id)
            steps, missing = list(known.steps.values()) if known else [], ["steps"]
        marks, left = (old.marks, old.left) if old else ({}, {})
        try:
            marks, left = await asyncio.to_thread(self._left, run_id, marks, left)
        except Unavailable:
            missing.append("outcomes")
        return self._keep(run_id, run, steps, marks, left, tuple(missing))

    def _keep(
        self,
        run_id: str,
        run: Document,
        steps: list[Document],
        marks: dict[str, datetime],
        left: dict[str, Outcome],
        missing: tuple[str, ...],
    ) -> Detail:
        old, now = self._kept.get(run_id), time.monotonic()
        steps.sort(key=lambda step: step.get("expected_start_time") or step.get("start_time") or "")
        doc = {**detail(run, steps, list(left.values()), self._model.names), "missing": list(missing)}
        ended = run.get("end_time")
        final = not missing and run["state"]["type"] in OVER and bool(ended) and _settled(str(ended))
        looked_at = old.looked_at if old else now
        new = Detail(doc, to_json(doc)[:-1], left, marks, missing, now, looked_at, final)
        self._kept[run_id] = new
        self._kept.move_to_end(run_id)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        for listener in self.listeners:
            listener(run_id, old.doc if old else None, new)
        if run_id in self._changed_meanwhile:
            new.built, new.final = 0.0, False
            asyncio.get_running_loop().call_soon(self._build_soon, run_id)
        return new

    def _has_all_steps(self, run_id: str) -> bool:
        """Whether the model has all steps of a run on its way: it may have missed some in a gap."""
        known = self._model.get(run_id)
        return known is not None and known.steps_of == self._model.round

    async def _steps_of(self, run_id: str, run: Document) -> list[Document]:
        """The steps, from the model where it has them all. Raises TimeoutError when Prefect takes its time."""
        known = self._model.get(run_id)
        over = run["state"]["type"] in OVER
        if known is not None and (known.steps_final if over else self._has_all_steps(run_id)):
            return list(known.steps.values())
        async with asyncio.timeout(STEPS_WITHIN_S):
            found = await self._steps.get((run_id, over), lambda: self._prefect.steps([run_id]))
        if known is None:
            return list(found)
        self._model.take_steps(run_id, found, whole=True)
        return list(known.steps.values())

    def _left(
        self, run_id: str, marks: dict[str, datetime], left: dict[str, Outcome]
    ) -> tuple[dict[str, datetime], dict[str, Outcome]]:
        """What the steps left behind; only what is new is read, as a window's samples are many."""
        now = self._store.marks_of([run_id])[run_id]
        changed = [step for step, at in now.items() if marks.get(step) != at]
        if changed:
            left = left | {found.step: condensed(found) for found in self._store.outcomes_by(run_id, changed)}
        return now, {step: left[step] for step in now if step in left}


def _settled(ended: str) -> bool:
    return now_micros() - micros(ended) > SETTLED_US
