"""The lines of a run's log, some at a time, from Prefect; many who read the same lines cause one request."""

from __future__ import annotations

import logging
from datetime import datetime

from slipway.admin import cursors
from slipway.admin.prefect_api import MOST, Document, Prefect
from slipway.admin.read_model import EPOCH, MICROSECOND, moment_of
from slipway.admin.single_flight import SingleFlight

SAME_MOMENT = 50  # lines of one moment that a cursor can name


class Logs:
    """The logs of runs."""

    def __init__(self, prefect: Prefect) -> None:
        self._prefect = prefect
        self._asked: SingleFlight[list[Document]] = SingleFlight(1.0, 200)

    async def of(self, run_id: str, *, after: str, limit: int) -> Document:
        """`logs` behind a cursor, the oldest first; `next` to go on from, and whether there is `more` by now.

        Raises InvalidInput for a cursor of another list, and Unavailable.
        """
        moment, seen = _place(after) if after else (None, frozenset())
        found = await self._asked.get((run_id, moment), lambda: self._prefect.logs(run_id, moment, MOST))
        new = [line for line in found if not (_at(line) == moment and _mark(line) in seen)]
        new.sort(key=lambda line: (_at(line), line["id"]))
        some = new[:limit]
        if some:
            last = _at(some[-1])
            marks = {_mark(line) for line in some if _at(line) == last} | (seen if last == moment else set())
            after = cursors.write((last - EPOCH) // MICROSECOND, ",".join(sorted(marks)[:SAME_MOMENT]))
        return {
            "logs": [_shown(line) for line in some],
            "next": after or None,
            "more": len(new) > limit or (len(found) == MOST and bool(some)),
        }

    async def last(self, run_id: str, *, limit: int) -> list[Document]:
        """The last lines, the oldest of them first. Raises Unavailable."""
        found = await self._asked.get((run_id, limit), lambda: self._prefect.last_logs(run_id, limit))
        return [_shown(line) for line in found]


def _shown(line: Document) -> Document:
    return {
        "at": line["timestamp"],
        "level": logging.getLevelName(line["level"]).lower(),
        "logger": line.get("name") or "",
        "message": line["message"],
        "step_id": line.get("task_run_id"),
    }


def _at(line: Document) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


def _mark(line: Document) -> str:
    """Enough of an id to know a line among those of the same moment."""
    return str(line["id"])[-12:]


def _place(cursor: str) -> tuple[datetime, frozenset[str]]:
    moment, marks = cursors.read(cursor, 2)
    if not (moment.isascii() and moment.isdigit() and len(moment) < 18):
        raise cursors.unknown(cursor)
    return moment_of(int(moment)), frozenset(marks.split(","))
