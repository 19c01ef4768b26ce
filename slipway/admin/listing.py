"""Pages of runs, the newest first: from the read model, and below it from Prefect in bounded windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json

from slipway.admin import cursors
from slipway.admin.prefect_api import MOST, Document, Prefect
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

READS = 5  # of Prefect, for one page: who may see only few of many gets a short page and goes on from there
LATEST = micros("9000-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, as documents and as JSON, and the cursor of the rest, if there may be one."""

    runs: list[Document]
    encoded: list[bytes]
    next: str | None


class RunList:
    """The list of runs of one read model."""

    def __init__(self, model: ReadModel, prefect: Prefect) -> None:
        self._model = model
        self._prefect = prefect
        self._older: SingleFlight[list[Document]] = SingleFlight(5.0, 100)

    async def page(self, wanted: RunFilter, *, limit: int, since: datetime | None = None, cursor: str = "") -> Page:
        """The runs since a time, by default of seven days. Raises InvalidInput for a cursor, and Unavailable."""
        now = now_micros()
        floor = _floor(since or datetime.now(UTC) - WINDOW)
        place = _place(cursor) if cursor else NEWEST
        runs: list[Document] = []
        encoded: list[bytes] = []
        here = bool(wanted.states) and set(wanted.states) <= {*IN_FLIGHT, "SCHEDULED"}  # what is on its way is all here
        lowest = (floor, "") if here else max((floor, ""), self._model.whole_from)
        for known in self._model.below(place):
            if known.key < lowest:
                break
            if wanted.fits(known.shown, now):
                if len(runs) == limit:
                    return Page(runs, encoded, cursors.write(*place))
                runs.append(known.shown)
                encoded.append(known.encoded)
                place = known.key
        if lowest <= (floor, ""):
            return Page(runs, encoded, None)
        return await self._from_prefect(Page(runs, encoded, None), wanted, min(place, lowest), floor, limit)

    async def _from_prefect(self, page: Page, wanted: RunFilter, place: Key, floor: int, limit: int) -> Page:
        """The rest of a page, below what the read model holds."""
        for _ in range(READS):
            found, whole = await self._window(wanted, place, floor)
            for run in found:
                shown = summary(run, self._model.names)
                if wanted.fits(shown, now_micros()):
                    if len(page.runs) == limit:
                        return Page(page.runs, page.encoded, cursors.write(*place))
                    page.runs.append(shown)
                    page.encoded.append(to_json(shown))
                place = key_of(run)
            if whole:
                return page
            if not found:  # more runs of one moment than Prefect tells at once
                place = (place[0], "")
        return Page(page.runs, page.encoded, cursors.write(*place))

    async def _window(self, wanted: RunFilter, place: Key, floor: int) -> tuple[list[Document], bool]:
        """The runs just below a place, in order, and whether these are all down to the floor.

        Prefect sorts by the time alone: the runs of the last moment in its answer may not be all, and wait for the next.
        """
        before = moment_of(min(place[0], LATEST))
        key = (wanted.job, wanted.states, wanted.service, place[0], floor // 60_000_000)
        found = await self._older.get(
            key,
            lambda: self._prefect.runs(
                job=wanted.job,
                states=wanted.states or None,
                tags=[f"service:{wanted.service}"] if wanted.service else None,
                since=moment_of(floor),
                before=before,
            ),
        )
        whole = len(found) < MOST
        below = sorted((run for run in found if key_of(run) < place), key=key_of, reverse=True)
        if not whole and below and key_of(below[0])[0] != key_of(below[-1])[0]:
            last = key_of(below[-1])[0]
            below = [run for run in below if key_of(run)[0] > last]
        return below, whole


def _floor(since: datetime) -> int:
    """A time in microseconds, within what a time can be; one without a zone is UTC."""
    return min(max((since.replace(tzinfo=since.tzinfo or UTC) - EPOCH) // MICROSECOND, 0), LATEST)


def _place(cursor: str) -> Key:
    moment, run_id = cursors.read(cursor, 2)
    if not (moment.isascii() and moment.isdigit() and len(moment) < 18) or len(run_id) > 100:
        raise cursors.unknown(cursor)
    return int(moment), run_id
