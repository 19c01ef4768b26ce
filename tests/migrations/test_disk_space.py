"""A rehearsal whose copy finds no room, or runs out of it: a real PostgreSQL, with a small disk for the tables."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from slipway.core.errors import SlipwayError, Unavailable
from slipway.databases.postgresql.database import PostgreSQL
from slipway.migrations.rehearse import rehearse
from tests.histories import VARIABLE, History, Move

DISK_MB = 24
ANEW: Move = ("ALTER TABLE a ALTER id TYPE bigint", "ALTER TABLE a ALTER id TYPE int")


@pytest.fixture(autouse=True)
def _slow_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognise the server's process on a slow machine, too."""
    monkeypatch.setattr("slipway.databases.postgresql.server_disk_space.CLOCKS_S", 300)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def owner(database: str) -> str:
    """The database's URL for a role of its own, which may make databases and read no settings of the server."""
    url = make_url(database)
    role = f"owner_of_{url.database}"
    run(database, f"CREATE ROLE {role} LOGIN PASSWORD 'plain-secret' CREATEDB")
    run(database, f"ALTER DATABASE {url.database} OWNER TO {role}")
    return url.set(username=role, password="plain-secret").render_as_string(hide_password=False)


@pytest.fixture
def small(disk: Path, database: str, owner: str) -> Iterator[str]:
    """A tablespace on the small disk, in which the owner may make tables."""
    name = f"small_{make_url(database).database}"
    run(database, f"CREATE TABLESPACE {name} LOCATION '{disk}'")
    run(database, f"GRANT CREATE ON TABLESPACE {name} TO {make_url(owner).username}")
    yield name
    run(database, "DROP TABLE a")
    run(database, f"DROP TABLESPACE {name}")


def run(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement as the role of the URL."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def closed(folder: str) -> Callable[[Path], Any]:
    """A `Path.stat` for which a folder is closed, as it is for another user than root."""

    def look(path: Path) -> Any:
        if str(path) == folder:
            raise PermissionError(13, "Permission denied", folder)
        return os.stat(path)

    return look


def history_on(tablespace: str, folder: Path, url: str, megabytes: int) -> History:
    """A history whose table lies in the tablespace, with rows."""
    history = History(
        folder, url, [(f"CREATE TABLE a (id int, note text) TABLESPACE {tablespace}", "DROP TABLE a"), ANEW]
    )
    history.stand_at("0001")
    history.run(f"INSERT INTO a SELECT n, repeat('x', 1000) FROM generate_series(1, {megabytes} * 870) AS n")
    return history


@pytest.mark.parametrize(
    ("megabytes", "told"),
    [
        pytest.param(14, "There was no room left for the copy: pg_restore ended with 1 after ", id="in the restore"),
        pytest.param(
            10,
            "The upgrade failed on the copy of the live database: `alembic upgrade 0002` ended with 1: "
            "sqlalchemy.exc.OperationalError: (psycopg.errors.DiskFull) could not extend file ",
            id="in the upgrade",
        ),
    ],
)
def test_room_that_runs_out(
    small: str, owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, told: str
) -> None:
    """It is told as that, the copy is gone with what it took, nothing live was changed, and the live database goes on."""
    monkeypatch.setenv(VARIABLE, owner)
    history = history_on(small, tmp_path, owner, megabytes)
    before = history.live.schema(), history.version(), history.databases(), history.run("SELECT count(*) FROM a")
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan("0001", "0002"), history.folder)
    assert failed.value.failed.startswith(told)
    assert "No space left on device" in failed.value.failed
    assert not isinstance(failed.value, Unavailable)
    assert failed.value.retry_is_safe
    assert (
        history.live.schema(),
        history.version(),
        history.databases(),
        history.run("SELECT count(*) FROM a"),
    ) == before
    history.run("INSERT INTO a SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) AS n")


def test_too_little_room_is_seen_before(
    small: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server's disk can be seen, nothing is begun that has no room there."""
    monkeypatch.setenv(VARIABLE, database)
    history = history_on(small, tmp_path, database, 10)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan("0001", "0002"), history.folder)
    needed = (
        2
        * history.run(
            "SELECT pg_relation_size('a') + pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'a'"
        )[0][0]
    )
    told = rf"There is no room for the copy of {history.live.name}: {needed / 1e6:.0f} MB are needed, \d+ MB free\."
    assert re.fullmatch(told, failed.value.failed)
    assert failed.value.expected == (
        f"{needed / 1e6:.0f} MB free in {tmp_path / 'disk'}, or `clone` in slipway.toml set to a copy that you keep."
    )
    assert failed.value.retry_is_safe


def test_dump_and_copy_on_one_disk(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the same disk has to hold is added up: the dump, the copy, and as much again for what is written anew."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=9_000_000))
    live = PostgreSQL(database)
    size = live.size_bytes()
    with pytest.raises(SlipwayError) as failed:
        live.room()
    assert failed.value.failed == (
        f"There is no room for the dump and the copy of {live.name}: {3 * size / 1e6:.0f} MB are needed, 9 MB free."
    )
    assert ", or TMPDIR set to where they are, or `clone` in slipway.toml set to " in failed.value.expected


def test_room_that_cannot_be_known(database: str, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody could look at is said, with the reason; where all was looked at nothing is."""
    assert PostgreSQL(database).room() == ()
    [unknown] = PostgreSQL(owner).room()
    assert (unknown.code, unknown.level) == ("room-not-checked", "info")
    assert unknown.summary == "Nobody has checked that the server's disk has room for the copy."
    assert unknown.explanation == (
        "The role may not read where the server keeps its files; pg_read_all_settings allows it."
    )
    [(folder,)] = run(database, "SHOW data_directory")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", closed(folder))
        [unknown] = PostgreSQL(database).room()
    assert unknown.explanation == f"{folder} cannot be seen from here."
    monkeypatch.setattr(
        "slipway.databases.postgresql.server_disk_space.CLOCKS_S", -1
    )  # then no process is known to be the server's
    [unknown] = PostgreSQL(database).room()
    assert unknown.explanation == "The server runs elsewhere, and its disk cannot be seen from here."
