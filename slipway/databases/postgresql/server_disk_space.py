"""Check the disk space for a rehearsal: for the dump on this machine, and for the copy in the server's data folders.

A full disk does not only end the rehearsal: PostgreSQL stops when it cannot write its WAL, and the live database stops
with it. So disk space is checked before anything starts, wherever it can be read.
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

CLOCKS_S = 5  # tolerance between the start times that the system and the server report for the same process
SERVER = """
SELECT pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
       coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), ''), pg_database_size(current_database())
"""
# Relations outside the default tablespace. The copy uses the server's default tablespace, in the data folder.
TABLESPACES = """
SELECT pg_tablespace_location(reltablespace), sum(pg_relation_size(oid))::bigint FROM pg_class
WHERE reltablespace <> 0 AND NOT relisshared GROUP BY reltablespace HAVING pg_tablespace_location(reltablespace) <> ''
"""


@dataclass(frozen=True)
class _Need:
    purpose: str
    folder: Path
    bytes: int


def check_server_disk_space(live: Address, size: int) -> tuple[Finding, ...]:
    """Raise SlipwayError if the disk space is too small for a rehearsal. Return a finding if the server cannot be checked.

    The dump needs at most `size` bytes, the size of the database (the dump is smaller, as it has no indexes). The copy
    needs the same on the server's disks, and again the same for rewritten tables and the server's WAL. Raises
    Unavailable if the database does not answer.
    """
    needs, unknown = _server_needs(live)
    dump = _Need("the dump", temporary(), size)
    for needs_of_disk in _by_disk((dump, *needs)):
        needed, free = sum(need.bytes for need in needs_of_disk), shutil.disk_usage(needs_of_disk[0].folder).free
        if free < needed:
            raise _too_little_space(live.name, needs_of_disk, needed, free)
    if not unknown:
        return ()
    summary = "The server's disk space for the copy was not checked."
    return (Finding(code="room-not-checked", level="info", summary=summary, explanation=unknown),)


def _server_needs(live: Address) -> tuple[list[_Need], str]:
    """Return what a copy needs on the server's disks, or the reason why that is unknown."""
    engine = create_engine(live.url.set(drivername=DRIVER))
    try:
        with engine.connect() as connection:
            pid, began, folder, size = connection.execute(text(SERVER)).one()
            if not folder:
                return [], "The role cannot read the location of the server's files. It needs pg_read_all_settings."
            if not _is_local_process(pid, began):
                return [], "The server runs on another machine, so Slipway cannot check its disk."
            outside = [
                _Need("the copy", Path(place), 2 * bytes_) for place, bytes_ in connection.execute(text(TABLESPACES))
            ]
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {live.name}: {reason}.", expected="A database that answers.") from None
    finally:
        engine.dispose()
    inside = size - sum(need.bytes for need in outside) // 2
    needs = [_Need("the copy", Path(folder), inside + size), *outside]
    unreadable = [str(need.folder) for need in needs if not _is_readable(need.folder)]
    return ([], f"Slipway cannot read {' and '.join(unreadable)}.") if unreadable else (needs, "")


def _is_readable(folder: Path) -> bool:
    try:
        folder.stat()
    except OSError:  # the folder is missing, or only the server's user can open its parent folder
        return False
    return True


def _is_local_process(pid: int, began: datetime) -> bool:
    """Return whether the server process with this pid runs on this machine. The start time excludes an unrelated process."""
    try:
        process = psutil.Process(pid)
        return process.name().startswith("postgres") and abs(process.create_time() - began.timestamp()) < CLOCKS_S
    except psutil.Error:
        return False


def _by_disk(needs: Sequence[_Need]) -> list[list[_Need]]:
    disks: dict[int, list[_Need]] = {}
    for need in needs:
        disks.setdefault(os.stat(need.folder).st_dev, []).append(need)
    return list(disks.values())


def _too_little_space(name: str, needs: Sequence[_Need], needed: int, free: int) -> SlipwayError:
    purposes = " and ".join(dict.fromkeys(need.purpose for need in needs))
    folders = " and ".join(dict.fromkeys(str(need.folder) for need in needs))
    remedies = {
        "the dump": "TMPDIR set to a folder with that much free space",
        "the copy": "`clone` in slipway.toml set to a copy that you maintain",
    }
    alternatives = ", or ".join(remedies[purpose] for purpose in dict.fromkeys(need.purpose for need in needs))
    return SlipwayError(
        f"There is not enough disk space for {purposes} of {name}: "
        f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free.",
        expected=f"{needed / 1e6:.0f} MB free in {folders}, or {alternatives}.",
        retry_is_safe=True,
    )
