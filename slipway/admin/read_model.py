"""The read model: the recent runs and their steps in memory, from which every reader is answered.

Prefect's events and reads go in, in any order: of two states of a run the newer one stands. An order by the time at which
a run was to start never changes for a run, so that a place in a list stays a place. Nothing here waits for anybody.
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
MOST_RUNS, MOST_HEARD = 2_000, 500
OVER = ("COMPLETED", "FAILED", "CANCELLED")
IN_FLIGHT = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
ENDED = (*OVER, "CRASHED")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Key = tuple[int, str]  # when a run was to start, in microseconds, and its id
NEWEST: Key = (2**62, "")


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a reader asks for; `readable` says of a service whether the reader may see it."""

    job: str | None = None
    states: tuple[str, ...] = ()
    service: str | None = None
    readable: Callable[[str | None], bool] | None = None

    def fits(self, shown: Document, now: int) -> bool:
        """Whether a run is one of them. What a schedule has only planned is shown to who asks for SCHEDULED."""
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
    """A run: as Prefect tells it, as a list shows it, and that as JSON; its steps by their ids, once they are known."""

    run: Document
    key: Key
    state_at: int
    seen: float
    shown: Document = field(default_factory=dict)
    encoded: bytes = b""
    steps: dict[str, Document] = field(default_factory=dict)
    steps_of: int = -1  # the round of reading in which the steps were read; another one may have missed some
    steps_final: bool = False  # they were read after the run was over
    over: bool = False


class ReadModel:
    """The runs of the last seven days, at most so many, and all that are on their way or planned."""

    def __init__(self, most: int = MOST_RUNS) -> None:
        self.names: dict[str, str] = {}
        self.round = 0  # of reading; a gap in the events begins another one
        self.as_of = EPOCH
        self.whole_from: Key = NEWEST  # from here on, every run is here
        self.listeners: list[Callable[[str], None]] = []
        self._most = most
        self._let_go: Key = (0, "")  # down from here runs were let go, as there were too many
        self._runs: dict[str, RunEntry] = {}
        self._heard: OrderedDict[str, tuple[Document, str]] = OrderedDict()  # states of runs that are not here yet
        self._order: list[Key] = []
        self._over: list[Key] = []  # those of them that are over, in the same order

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> RunEntry | None:
        """A run, when it is here."""
        return self._runs.get(run_id)

    def confirm(self, as_of: datetime) -> None:
        """Everything here is as Prefect had it at that time."""
        self.as_of = max(self.as_of, as_of)

    @property
    def age_s(self) -> float:
        """How old the knowledge is, in seconds. Raises Unavailable while nothing is known yet."""
        if self.as_of == EPOCH:
            raise Unavailable(
                "Prefect has not been read yet since this service started.", expected="A Prefect server that answers."
            )
        return max(0.0, (datetime.now(UTC) - self.as_of).total_seconds())

    def rename(self, names: dict[str, str]) -> None:
        """The jobs' names by the ids of their deployments, when they have changed."""
        if names != self.names:
            self.names = names
            for known in self._runs.values():
                self._show(known)

    def put(self, run: Document) -> bool:
        """Take a run as Prefect tells it; false when an event has already told a newer state than this answer knows."""
        known, at = self._runs.get(run["id"]), state_time(run)
        if known is None:
            known = RunEntry(run, key_of(run), at, time.monotonic())
            self._runs[run["id"]] = known
            insort(self._order, known.key)
            self._tell(known)
            self._trim()
            state, moment = self._heard.pop(run["id"], ({}, ""))
            if moment and micros(moment) > at:
                self.take_state(run["id"], state, moment)
                return False
            return True
        known.seen = time.monotonic()
        newer = at >= known.state_at
        kept = {} if newer else {name: known.run.get(name) for name in ("state", "start_time", "end_time")}
        changed = known.run != (run := {**run, **kept})
        known.run, known.state_at = run, max(at, known.state_at)
        if changed:
            self._tell(known)
        return newer

    def take_state(self, run_id: str, state: Document, at: str) -> bool:
        """Take a run's new state from an event; for a run that is not here yet it waits until the run is read.

        False when it is known already, as that of a run which this process has just started.
        """
        known, moment = self._runs.get(run_id), micros(at)
        if known is None:
            self._heard[run_id] = state, at
            if len(self._heard) > MOST_HEARD:
                self._heard.popitem(last=False)
            return True
        if moment <= known.state_at:
            return False
        run = {**known.run, "state": {**state, "timestamp": at}}
        run["end_time"] = at if state["type"] in ENDED else None
        known.steps_final = False
        if state["type"] == "RUNNING" and not run.get("start_time"):
            run["start_time"] = at
        known.run, known.state_at = run, moment
        self._tell(known)
        return True

    def take_steps(self, run_id: str, steps: Sequence[Document], *, whole: bool = False) -> None:
        """Take steps of a run, `whole` when these are all; of two states of a step the newer one stands."""
        known = self._runs.get(run_id)
        if known is None:
            return
        changed = False
        for step in steps:
            old = known.steps.get(step["id"])
            if old is None or (state_time(step) >= state_time(old) and old != step):
                known.steps[step["id"]] = step
                changed = True
        if whole:
            known.steps_of = self.round
            known.steps_final = known.run["state"]["type"] in OVER
        if changed:
            self._listen(run_id)

    def reach(self, place: Key) -> None:
        """All runs down to this place have been put in, as far as they were not let go again."""
        self.whole_from = max(place, self._let_go)

    def forget(self, run_id: str) -> None:
        """Prefect has this run no more."""
        known = self._runs.get(run_id)
        if known is not None:
            self._drop(known)
            self._listen(run_id)

    def having(self, *states: str) -> list[RunEntry]:
        """Those in one of these states."""
        return [known for known in self._runs.values() if known.run["state"]["type"] in states]

    def unseen_since(self, moment: float, oldest: Key) -> list[str]:
        """The ids of the runs down to a place in the order that no answer of Prefect had since a (monotonic) moment."""
        begin = bisect_left(self._order, oldest)
        return [run_id for _, run_id in self._order[begin:] if self._runs[run_id].seen < moment]

    def below(self, place: Key) -> Iterator[RunEntry]:
        """The runs below a place in the order, the newest first."""
        for index in range(bisect_left(self._order, place) - 1, -1, -1):
            yield self._runs[self._order[index][1]]

    def _tell(self, known: RunEntry) -> None:
        over = known.run["state"]["type"] in OVER
        if over and not known.over:
            insort(self._over, known.key)
        elif known.over and not over:
            _remove(self._over, known.key)
        known.over = over
        self._show(known)
        self._listen(known.key[1])

    def _show(self, known: RunEntry) -> None:
        known.shown = summary(known.run, self.names)
        known.encoded = to_json(known.shown)

    def _listen(self, run_id: str) -> None:
        for listener in self.listeners:
            listener(run_id)

    def _trim(self) -> None:
        """Let the oldest runs go that are over, when there are too many; what is not over stays, however many that are."""
        while len(self._order) > self._most and self._over:
            key = self._over[0]
            self._drop(self._runs[key[1]])
            self._let_go = max(self._let_go, (key[0], key[1] + "\0"))  # all above it are here
            self.whole_from = max(self.whole_from, self._let_go)

    def _drop(self, known: RunEntry) -> None:
        del self._runs[known.key[1]]
        _remove(self._order, known.key)
        if known.over:
            _remove(self._over, known.key)


def _remove(keys: list[Key], key: Key) -> None:
    del keys[bisect_left(keys, key)]


def micros(moment: str) -> int:
    """A time as Prefect writes it, in microseconds."""
    return (datetime.fromisoformat(moment) - EPOCH) // MICROSECOND


def moment_of(number: int) -> datetime:
    """The time of so many microseconds."""
    return EPOCH + number * MICROSECOND


def now_micros() -> int:
    """Now."""
    return (datetime.now(UTC) - EPOCH) // MICROSECOND


def key_of(run: Document) -> Key:
    """A run's place in the order."""
    return micros(run.get("expected_start_time") or run["created"]), run["id"]


def state_time(run: Document) -> int:
    """When a run or a step came into its state."""
    at = (run.get("state") or {}).get("timestamp")
    return micros(at) if at else 0
