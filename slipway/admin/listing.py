"""Pages of runs, newest first: from the read model, and older runs from Prefect in bounded windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json

from slipway.admin import cursors
from slipway.admin.prefect_api import PAGE_SIZE, Document, Prefect
from slipway.admin.read_model import (
    EPOCH,
    IN_FLIGHT,
    MICROSECOND,
    NEWEST,
    WINDOW,
    Key,
    ReadModel,
    RunFilter,
    key_of,
    micros,
    moment_of,
    now_micros,
)
from slipway.admin.runs import summary
from slipway.admin.single_flight import SingleFlight

READS = 5  # reads of Prefect for one page; a caller who may see few of the runs gets a short page and a cursor
LATEST_US = micros("9000-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, as documents and as JSON, and the cursor of the next page; None after the last page."""

    runs: list[Document]
    encoded: list[bytes]
    next: str | None


class RunList:
    """The list of runs of one read model."""

    def __init__(self, model: ReadModel, prefect: Prefect) -> None:
        self._model = model
        self._prefect = prefect
        self._older: SingleFlight[list[Document]] = SingleFlight(5.0, 100)

    async def page(self, run_filter: RunFilter, *, limit: int, since: datetime | None = None, cursor: str = "") -> Page:
        """Return the runs since a time (default: 7 days ago). Raises InvalidInput for a bad cursor, and Unavailable."""
        now = now_micros()
        floor = _floor_us(since or datetime.now(UTC) - WINDOW)
        position = _position(cursor) if cursor else NEWEST
        runs: list[Document] = []
        encoded: list[bytes] = []
        in_model = bool(run_filter.states) and set(run_filter.states) <= {
            *IN_FLIGHT,
            "SCHEDULED",
        }  # the model has them all
        lowest = (floor, "") if in_model else max((floor, ""), self._model.complete_from)
        for entry in self._model.below(position):
            if entry.key < lowest:
                break
            if run_filter.matches(entry.shown, now):
                if len(runs) == limit:
                    return Page(runs, encoded, cursors.write(*position))
                runs.append(entry.shown)
                encoded.append(entry.encoded)
                position = entry.key
        if lowest <= (floor, ""):
            return Page(runs, encoded, None)
        return await self._from_prefect(Page(runs, encoded, None), run_filter, min(position, lowest), floor, limit)

    async def _from_prefect(self, page: Page, run_filter: RunFilter, position: Key, floor: int, limit: int) -> Page:
        """Fill a page with runs older than the read model."""
        for _ in range(READS):
            runs, complete = await self._window(run_filter, position, floor)
            for run in runs:
                shown = summary(run, self._model.names)
                if run_filter.matches(shown, now_micros()):
                    if len(page.runs) == limit:
                        return Page(page.runs, page.encoded, cursors.write(*position))
                    page.runs.append(shown)
                    page.encoded.append(to_json(shown))
                position = key_of(run)
            if complete:
                return page
            if not runs:  # Prefect has more runs of one moment than it returns at once
                position = (position[0], "")
        return Page(page.runs, page.encoded, cursors.write(*position))

    async def _window(self, run_filter: RunFilter, position: Key, floor: int) -> tuple[list[Document], bool]:
        """Return the runs just below a position, in order, and whether these are all runs down to the floor.

        Prefect sorts by time only: the runs of the last moment in a response may be incomplete, and are left to the next.
        """
        before = moment_of(min(position[0], LATEST_US))
        key = (run_filter.job, run_filter.states, run_filter.service, position[0], floor // 60_000_000)
        runs = await self._older.get(
            key,
            lambda: self._prefect.runs(
                job=run_filter.job,
                states=run_filter.states or None,
                tags=[f"service:{run_filter.service}"] if run_filter.service else None,
                since=moment_of(floor),
                before=before,
            ),
        )
        complete = len(runs) < PAGE_SIZE
        below = sorted((run for run in runs if key_of(run) < position), key=key_of, reverse=True)
        if not complete and below and key_of(below[0])[0] != key_of(below[-1])[0]:
            last = key_of(below[-1])[0]
            below = [run for run in below if key_of(run)[0] > last]
        return below, complete


def _floor_us(since: datetime) -> int:
    """Return a time in microseconds, limited to the valid range. A time without a zone is UTC."""
    return min(max((since.replace(tzinfo=since.tzinfo or UTC) - EPOCH) // MICROSECOND, 0), LATEST_US)


def _position(cursor: str) -> Key:
    moment, run_id = cursors.read(cursor, 2)
    if not (moment.isascii() and moment.isdigit() and len(moment) < 18) or len(run_id) > 100:
        raise cursors.unknown(cursor)
    return int(moment), run_id
