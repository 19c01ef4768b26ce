"""A rehearsal without enough disk space for its copy: a real PostgreSQL with a small disk for the tables."""

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
REWRITE: Move = ("ALTER TABLE a ALTER id TYPE bigint", "ALTER TABLE a ALTER id TYPE int")


@pytest.fixture(autouse=True)
def _slow_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognise the server's process on a slow machine."""
    monkeypatch.setattr("slipway.databases.postgresql.server_disk_space.CLOCKS_S", 300)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mount.returncode != 0:
        pytest.skip(f"could not mount a small disk: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def owner(database: str) -> str:
    """Return the database URL for a new role that may create databases, but not read the server's settings."""
    url = make_url(database)
    role = f"owner_of_{url.database}"
    run(database, f"CREATE ROLE {role} LOGIN PASSWORD 'plain-secret' CREATEDB")
    run(database, f"ALTER DATABASE {url.database} OWNER TO {role}")
    return url.set(username=role, password="plain-secret").render_as_string(hide_password=False)


@pytest.fixture
def small(disk: Path, database: str, owner: str) -> Iterator[str]:
    """Yield a tablespace on the small disk, in which the owner may create tables."""
    name = f"small_{make_url(database).database}"
    run(database, f"CREATE TABLESPACE {name} LOCATION '{disk}'")
    run(database, f"GRANT CREATE ON TABLESPACE {name} TO {make_url(owner).username}")
    yield name
    run(database, "DROP TABLE a")
    run(database, f"DROP TABLESPACE {name}")


def run(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement as the role of the URL, and return its rows."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def stat_without_permission(folder: str) -> Callable[[Path], Any]:
    """Return a `Path.stat` that raises PermissionError for a folder, as for a user other than root."""

    def stat(path: Path) -> Any:
        if str(path) == folder:
            raise PermissionError(13, "Permission denied", folder)
        return os.stat(path)

    return stat


def history_on(tablespace: str, folder: Path, url: str, megabytes: int) -> History:
    """Return a history whose table is in the tablespace and has rows."""
    history = History(
        folder, url, [(f"CREATE TABLE a (id int, note text) TABLESPACE {tablespace}", "DROP TABLE a"), REWRITE]
    )
    history.set_revision("0001")
    history.run(f"INSERT INTO a SELECT n, repeat('x', 1000) FROM generate_series(1, {megabytes} * 870) AS n")
    return history


@pytest.mark.parametrize(
    ("megabytes", "message"),
    [
        pytest.param(14, "The disk is full for the copy: pg_restore exited with 1 after ", id="in the restore"),
        pytest.param(
            10,
            "The upgrade failed on the copy of the live database: `alembic upgrade 0002` exited with 1: "
            "sqlalchemy.exc.OperationalError: (psycopg.errors.DiskFull) could not extend file ",
            id="in the upgrade",
        ),
    ],
)
def test_a_full_disk_fails_the_rehearsal_and_leaves_the_live_database_unchanged(
    small: str, owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, message: str
) -> None:
    """The error names the full disk, the copy is dropped, and the live database still accepts writes."""
    monkeypatch.setenv(VARIABLE, owner)
    history = history_on(small, tmp_path, owner, megabytes)
    before = history.live.schema(), history.version(), history.databases(), history.run("SELECT count(*) FROM a")
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan("0001", "0002"), history.folder)
    assert failed.value.failed.startswith(message)
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


def test_too_little_disk_space_is_detected_before_the_copy(
    small: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server's disk can be checked, a copy without enough space is not started."""
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
    space = rf"{needed / 1e6:.0f} MB are needed, \d+ MB are free\."
    message = rf"There is not enough disk space for the copy of {history.live.name}: {space}"
    assert re.fullmatch(message, failed.value.failed)
    assert failed.value.expected == (
        f"{needed / 1e6:.0f} MB free in {tmp_path / 'disk'}, or `clone` in slipway.toml set to a copy that you maintain."
    )
    assert failed.value.retry_is_safe


def test_dump_and_copy_on_one_disk(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One disk needs space for the dump, the copy, and rewritten tables."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=9_000_000))
    live = PostgreSQL(database)
    size = live.size_bytes()
    with pytest.raises(SlipwayError) as failed:
        live.check_disk_space()
    assert failed.value.failed == (
        f"There is not enough disk space for the dump and the copy of {live.name}: "
        f"{3 * size / 1e6:.0f} MB are needed, 9 MB are free."
    )
    assert (
        ", or TMPDIR set to a folder with that much free space, or `clone` in slipway.toml set to "
        in failed.value.expected
    )


def test_unchecked_disk_space_is_a_finding(database: str, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disk space that cannot be checked is a finding with its reason; a complete check has none."""
    assert PostgreSQL(database).check_disk_space() == ()
    [unknown] = PostgreSQL(owner).check_disk_space()
    assert (unknown.code, unknown.level) == ("room-not-checked", "info")
    assert unknown.summary == "The server's disk space for the copy was not checked."
    assert unknown.explanation == (
        "The role cannot read the location of the server's files. It needs pg_read_all_settings."
    )
    [(folder,)] = run(database, "SHOW data_directory")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stat_without_permission(folder))
        [unknown] = PostgreSQL(database).check_disk_space()
    assert unknown.explanation == f"Slipway cannot read {folder}."
    monkeypatch.setattr(
        "slipway.databases.postgresql.server_disk_space.CLOCKS_S", -1
    )  # no process is recognised as the server
    [unknown] = PostgreSQL(database).check_disk_space()
    assert unknown.explanation == "The server runs on another machine, so Slipway cannot check its disk."
