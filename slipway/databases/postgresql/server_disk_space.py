"""Whether there is room for a rehearsal: for the dump here, and for the copy where the server keeps its files.

A full disk does not only end the rehearsal: a PostgreSQL that can write no more of its log stops, and the live database
with it. So room is looked at before anything is begun, wherever it can be known.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.finding import Finding
from slipway.databases.database import DRIVER, Address
from slipway.databases.disk_space import temporary

CLOCKS_S = 5  # by how much the times of the system and of the server may differ for one and the same process
SERVER = """
SELECT pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
       coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), ''), pg_database_size(current_database())
"""
# What lies outside the default tablespace; the copy's own default is that of the server, the data folder.
TABLESPACES = """
SELECT pg_tablespace_location(reltablespace), sum(pg_relation_size(oid))::bigint FROM pg_class
WHERE reltablespace <> 0 AND NOT relisshared GROUP BY reltablespace HAVING pg_tablespace_location(reltablespace) <> ''
"""


@dataclass(frozen=True)
class _Need:
    what: str
    folder: Path
    bytes: int


def check_server_room(live: Address, size: int) -> tuple[Finding, ...]:
    """Raise SlipwayError where less is free than a rehearsal on a copy needs; the answer tells what could not be known.

    The dump needs as much as the database, whose `size` is in bytes (it has no indexes, and is smaller). The copy needs
    that much where the server keeps the tables, and once more for what the migration writes anew and for the server's
    log. Raises Unavailable.
    """
    needs, unknown = _of_the_server(live)
    dump = _Need("the dump", temporary(), size)
    for together in _by_disk((dump, *needs)):
        needed, free = sum(need.bytes for need in together), shutil.disk_usage(together[0].folder).free
        if free < needed:
            raise _no_room(live.name, together, needed, free)
    if not unknown:
        return ()
    summary = "Nobody has checked that the server's disk has room for the copy."
    return (Finding(code="room-not-checked", level="info", summary=summary, explanation=unknown),)


def _of_the_server(live: Address) -> tuple[list[_Need], str]:
    """What a copy needs on the server's disks, or why that cannot be known."""
    engine = create_engine(live.url.set(drivername=DRIVER))
    try:
        with engine.connect() as connection:
            pid, began, folder, size = connection.execute(text(SERVER)).one()
            if not folder:
                return [], "The role may not read where the server keeps its files; pg_read_all_settings allows it."
            if not _runs_here(pid, began):
                return [], "The server runs elsewhere, and its disk cannot be seen from here."
            elsewhere = [
                _Need("the copy", Path(place), 2 * bytes_) for place, bytes_ in connection.execute(text(TABLESPACES))
            ]
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {live.name}: {reason}.", expected="A database that answers.") from None
    finally:
        engine.dispose()
    inside = size - sum(need.bytes for need in elsewhere) // 2
    needs = [_Need("the copy", Path(folder), inside + size), *elsewhere]
    unseen = [str(need.folder) for need in needs if not _is_seen(need.folder)]
    return ([], f"{' and '.join(unseen)} cannot be seen from here.") if unseen else (needs, "")


def _is_seen(folder: Path) -> bool:
    try:
        folder.stat()
    except OSError:  # not there, or below a folder that only the server's user may enter
        return False
    return True


def _runs_here(pid: int, began: datetime) -> bool:
    """Whether the process of a session of ours is one of this machine: its number alone could be that of another."""
    try:
        process = psutil.Process(pid)
        return process.name().startswith("postgres") and abs(process.create_time() - began.timestamp()) < CLOCKS_S
    except psutil.Error:
        return False


def _by_disk(needs: Sequence[_Need]) -> list[list[_Need]]:
    found: dict[int, list[_Need]] = {}
    for need in needs:
        found.setdefault(os.stat(need.folder).st_dev, []).append(need)
    return list(found.values())


def _no_room(name: str, needs: Sequence[_Need], needed: int, free: int) -> SlipwayError:
    what = " and ".join(dict.fromkeys(need.what for need in needs))
    folders = " and ".join(dict.fromkeys(str(need.folder) for need in needs))
    ways = {
        "the dump": "TMPDIR set to where they are",
        "the copy": "`clone` in slipway.toml set to a copy that you keep",
    }
    others = ", or ".join(ways[need] for need in dict.fromkeys(need.what for need in needs))
    return SlipwayError(
        f"There is no room for {what} of {name}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB free.",
        expected=f"{needed / 1e6:.0f} MB free in {folders}, or {others}.",
        retry_is_safe=True,
    )
