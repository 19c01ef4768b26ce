"""The read model: the recent runs and their steps in memory. Every response comes from here.

Prefect's events and reads arrive in any order; the newest state of a run wins. Runs are sorted by expected start time,
which never changes for a run, so a position in the list stays valid. No method blocks.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic_core import to_json

from slipway.admin.prefect_api import Document
from slipway.admin.runs import summary
from slipway.core.errors import Unavailable

WINDOW = timedelta(days=7)
MAX_RUNS, MAX_PENDING_STATES = 2_000, 500
OVER = ("COMPLETED", "FAILED", "CANCELLED")
IN_FLIGHT = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
ENDED = (*OVER, "CRASHED")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Key = tuple[int, str]  # a run's expected start, in microseconds, and its id
NEWEST: Key = (2**62, "")


@dataclass(frozen=True, slots=True)
class RunFilter:
    """The runs that a reader requests; `readable` returns whether the reader may see a service."""

    job: str | None = None
    states: tuple[str, ...] = ()
    service: str | None = None
    readable: Callable[[str | None], bool] | None = None

    def matches(self, shown: Document, now: int) -> bool:
        """Whether a run matches. Future runs of a schedule match only if SCHEDULED is requested."""
        state = shown["state"]["type"]
        if self.states and state not in self.states:
            return False
        if not self.states and shown["planned"] and state == "SCHEDULED" and micros(shown["planned"]) > now:
            return False
        if self.job is not None and shown["job"] != self.job:
            return False
        if self.service is not None and shown["service"] != self.service:
            return False
        return self.readable is None or self.readable(shown["service"])


@dataclass(slots=True)
class RunEntry:
    """A run as Prefect has it, as a list shows it, and as the list's JSON; its steps by id, once they are known."""

    run: Document
    key: Key
    state_at: int
    seen_at: float
    shown: Document = field(default_factory=dict)
    encoded: bytes = b""
    steps: dict[str, Document] = field(default_factory=dict)
    steps_round: int = -1  # the round in which all steps were read; later rounds may have missed events
    steps_final: bool = False  # the steps were read after the run had ended
    ended: bool = False


class ReadModel:
    """The runs of the last seven days, up to a limit, and all runs that are in flight or planned."""

    def __init__(self, max_runs: int = MAX_RUNS) -> None:
        self.names: dict[str, str] = {}
        self.round = 0  # counts the full reads of steps; each resync after a gap in the events begins another round
        self.as_of = EPOCH
        self.complete_from: Key = NEWEST  # every run that is newer than this key is in the model
        self.listeners: list[Callable[[str], None]] = []
        self._max_runs = max_runs
        self._dropped_to: Key = (0, "")  # some runs older than this key were dropped, because the model was full
        self._runs: dict[str, RunEntry] = {}
        self._pending_states: OrderedDict[str, tuple[Document, str]] = OrderedDict()  # of runs not yet in the model
        self._order: list[Key] = []
        self._ended: list[Key] = []  # the keys of ended runs, in the same order

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> RunEntry | None:
        """Return a run, or None if the run is not in the model."""
        return self._runs.get(run_id)

    def confirm(self, as_of: datetime) -> None:
        """Record that the model matches Prefect's state at that time."""
        self.as_of = max(self.as_of, as_of)

    @property
    def age_s(self) -> float:
        """The age of the model, in seconds. Raises Unavailable before the first read."""
        if self.as_of == EPOCH:
            raise Unavailable(
                "This service has not read Prefect's state since it started.", expected="The Prefect server answers."
            )
        return max(0.0, (datetime.now(UTC) - self.as_of).total_seconds())

    def rename(self, names: dict[str, str]) -> None:
        """Set the job names by deployment id; changed names are applied to all runs."""
        if names != self.names:
            self.names = names
            for entry in self._runs.values():
                self._render(entry)

    def put(self, run: Document) -> bool:
        """Store a run that was read from Prefect. Return False if an event has already reported a newer state."""
        entry, at = self._runs.get(run["id"]), state_time(run)
        if entry is None:
            entry = RunEntry(run, key_of(run), at, time.monotonic())
            self._runs[run["id"]] = entry
            insort(self._order, entry.key)
            self._update(entry)
            self._trim()
            state, moment = self._pending_states.pop(run["id"], ({}, ""))
            if moment and micros(moment) > at:
                self.take_state(run["id"], state, moment)
                return False
            return True
        entry.seen_at = time.monotonic()
        newer = at >= entry.state_at
        kept = {} if newer else {name: entry.run.get(name) for name in ("state", "start_time", "end_time")}
        changed = entry.run != (run := {**run, **kept})
        entry.run, entry.state_at = run, max(at, entry.state_at)
        if changed:
            self._update(entry)
        return newer

    def take_state(self, run_id: str, state: Document, at: str) -> bool:
        """Store a run's state from an event. The state of an unknown run is applied when the run is read.

        Return False if the state is not newer, such as for a run that this process has just started.
        """
        entry, moment = self._runs.get(run_id), micros(at)
        if entry is None:
            self._pending_states[run_id] = state, at
            if len(self._pending_states) > MAX_PENDING_STATES:
                self._pending_states.popitem(last=False)
            return True
        if moment <= entry.state_at:
            return False
        run = {**entry.run, "state": {**state, "timestamp": at}}
        run["end_time"] = at if state["type"] in ENDED else None
        entry.steps_final = False
        if state["type"] == "RUNNING" and not run.get("start_time"):
            run["start_time"] = at
        entry.run, entry.state_at = run, moment
        self._update(entry)
        return True

    def take_steps(self, run_id: str, steps: Sequence[Document], *, complete: bool = False) -> None:
        """Store steps of a run; the newest state of a step wins. `complete` means that these are all steps."""
        entry = self._runs.get(run_id)
        if entry is None:
            return
        changed = False
        for step in steps:
            old = entry.steps.get(step["id"])
            if old is None or (state_time(step) >= state_time(old) and old != step):
                entry.steps[step["id"]] = step
                changed = True
        if complete:
            entry.steps_round = self.round
            entry.steps_final = entry.run["state"]["type"] in OVER
        if changed:
            self._notify(run_id)

    def reach(self, position: Key) -> None:
        """Record that all runs newer than this position are in the model, except those dropped since."""
        self.complete_from = max(position, self._dropped_to)

    def forget(self, run_id: str) -> None:
        """Remove a run that Prefect has deleted."""
        entry = self._runs.get(run_id)
        if entry is not None:
            self._drop(entry)
            self._notify(run_id)

    def in_states(self, *states: str) -> list[RunEntry]:
        """Return the runs in one of these states."""
        return [entry for entry in self._runs.values() if entry.run["state"]["type"] in states]

    def not_seen_since(self, moment: float, oldest: Key) -> list[str]:
        """Return the ids of runs, down to a position, that no read has returned since a (monotonic) time."""
        begin = bisect_left(self._order, oldest)
        return [run_id for _, run_id in self._order[begin:] if self._runs[run_id].seen_at < moment]

    def below(self, position: Key) -> Iterator[RunEntry]:
        """Yield the runs below a position, newest first."""
        for index in range(bisect_left(self._order, position) - 1, -1, -1):
            yield self._runs[self._order[index][1]]

    def _update(self, entry: RunEntry) -> None:
        ended = entry.run["state"]["type"] in OVER
        if ended and not entry.ended:
            insort(self._ended, entry.key)
        elif entry.ended and not ended:
            _remove(self._ended, entry.key)
        entry.ended = ended
        self._render(entry)
        self._notify(entry.key[1])

    def _render(self, entry: RunEntry) -> None:
        entry.shown = summary(entry.run, self.names)
        entry.encoded = to_json(entry.shown)

    def _notify(self, run_id: str) -> None:
        for listener in self.listeners:
            listener(run_id)

    def _trim(self) -> None:
        """Drop the oldest ended runs while the model is over its limit. Runs that have not ended are never dropped."""
        while len(self._order) > self._max_runs and self._ended:
            key = self._ended[0]
            self._drop(self._runs[key[1]])
            self._dropped_to = max(self._dropped_to, (key[0], key[1] + "\0"))  # all newer runs are in the model
            self.complete_from = max(self.complete_from, self._dropped_to)

    def _drop(self, entry: RunEntry) -> None:
        del self._runs[entry.key[1]]
        _remove(self._order, entry.key)
        if entry.ended:
            _remove(self._ended, entry.key)


def _remove(keys: list[Key], key: Key) -> None:
    del keys[bisect_left(keys, key)]


def micros(moment: str) -> int:
    """Return a time in Prefect's format as microseconds since the epoch."""
    return (datetime.fromisoformat(moment) - EPOCH) // MICROSECOND


def moment_of(number: int) -> datetime:
    """Return the time for a number of microseconds since the epoch."""
    return EPOCH + number * MICROSECOND


def now_micros() -> int:
    """Return the current time in microseconds since the epoch."""
    return (datetime.now(UTC) - EPOCH) // MICROSECOND


def key_of(run: Document) -> Key:
    """Return a run's sort key."""
    return micros(run.get("expected_start_time") or run["created"]), run["id"]


def state_time(run: Document) -> int:
    """Return when a run or a step entered its state, in microseconds."""
    at = (run.get("state") or {}).get("timestamp")
    return micros(at) if at else 0
