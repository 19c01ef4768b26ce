"""Pages of a run's log, from Prefect. Concurrent readers of the same lines share one request."""

from __future__ import annotations

import logging
from datetime import datetime

from slipway.admin import cursors
from slipway.admin.prefect_api import PAGE_SIZE, Document, Prefect
from slipway.admin.read_model import EPOCH, MICROSECOND, moment_of
from slipway.admin.single_flight import SingleFlight

MAX_SAME_MOMENT = 50  # lines of one moment that a cursor can name


class Logs:
    """The logs of runs."""

    def __init__(self, prefect: Prefect) -> None:
        self._prefect = prefect
        self._reads: SingleFlight[list[Document]] = SingleFlight(1.0, 200)

    async def page(self, run_id: str, *, after: str, limit: int) -> Document:
        """Return `logs` after a cursor, oldest first, the `next` cursor, and whether there are `more` lines.

        Raises InvalidInput for a cursor of another list, and Unavailable.
        """
        moment, seen_marks = _position(after) if after else (None, frozenset())
        lines = await self._reads.get((run_id, moment), lambda: self._prefect.logs(run_id, moment, PAGE_SIZE))
        unseen = [line for line in lines if not (_at(line) == moment and _mark(line) in seen_marks)]
        unseen.sort(key=lambda line: (_at(line), line["id"]))
        batch = unseen[:limit]
        if batch:
            last = _at(batch[-1])
            marks = {_mark(line) for line in batch if _at(line) == last} | (seen_marks if last == moment else set())
            after = cursors.write((last - EPOCH) // MICROSECOND, ",".join(sorted(marks)[:MAX_SAME_MOMENT]))
        return {
            "logs": [_as_document(line) for line in batch],
            "next": after or None,
            "more": len(unseen) > limit or (len(lines) == PAGE_SIZE and bool(batch)),
        }

    async def last(self, run_id: str, *, limit: int) -> list[Document]:
        """Return the last lines, oldest first. Raises Unavailable."""
        lines = await self._reads.get((run_id, limit), lambda: self._prefect.last_logs(run_id, limit))
        return [_as_document(line) for line in lines]


def _as_document(line: Document) -> Document:
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
    """Return the part of a line's id that distinguishes lines of the same moment."""
    return str(line["id"])[-12:]


def _position(cursor: str) -> tuple[datetime, frozenset[str]]:
    moment, marks = cursors.read(cursor, 2)
    if not (moment.isascii() and moment.isdigit() and len(moment) < 18):
        raise cursors.unknown(cursor)
    return moment_of(int(moment)), frozenset(marks.split(","))
