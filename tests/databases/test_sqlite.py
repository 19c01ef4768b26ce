"""The schema, checksums and copies of a SQLite database, on real files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.databases.opening import open_database
from slipway.databases.sqlite.database import SQLite
from slipway.databases.sqlite.schema import normalised
from slipway.migrations.reversibility import row_differences

TABLES = """
CREATE TABLE customer (id integer PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE purchase (id integer PRIMARY KEY, customer_id int REFERENCES customer, cents int CHECK (cents > 0));
CREATE INDEX purchase_customer ON purchase (customer_id);
CREATE VIEW rich AS SELECT customer_id FROM purchase WHERE cents > 1000;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50)
INSERT INTO customer SELECT n, n || '@example.com' FROM n;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
INSERT INTO purchase SELECT n, 1 + n % 50, n FROM n;
"""


def run(database: SQLite, sql: str) -> list[tuple[object, ...]]:
    """Run one statement and return its rows, or run several statements."""
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall() if ";" not in sql else connection.executescript(sql).fetchall()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the folder for temporary files, and return its path."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # tempfile caches the folder
    return folder


@pytest.fixture
def live(tmp_path: Path, temporary: Path) -> Iterator[SQLite]:
    """Create a small database with rows. Check at the end that no other file is left."""
    (tmp_path / "shop").mkdir()
    created = open_database("sqlite:///live.db", tmp_path / "shop")
    assert isinstance(created, SQLite)
    run(created, TABLES)
    yield created
    assert list(temporary.iterdir()) == []
    assert {file.name for file in (tmp_path / "shop").iterdir()} <= {"live.db", "live.db-wal", "live.db-shm", "link.db"}


def test_a_query_of_a_change_file_can_only_read(live: SQLite) -> None:
    """The first column is returned up to the limit, and writes are rejected."""
    assert live.first_column("SELECT 'a:b%', 1 UNION SELECT 'c', 2 ORDER BY 1", 1) == ["a:b%"]
    for query, message in (("CREATE TABLE more (id int)", "readonly"), ("SELECT absent", "no such column")):
        with pytest.raises(InvalidInput, match=message):
            live.first_column(query, 1)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_copy_has_the_rows_and_the_schema(live: SQLite, temporary: Path, journal: str) -> None:
    """The copy is another file with the same schema and rows, in a folder that only this user can read."""
    run(live, f"PRAGMA journal_mode = {journal}")
    with live.copied("shop") as copy:
        assert copy.path.is_relative_to(temporary) and copy.path.parent.stat().st_mode & 0o777 == 0o700
        assert (copy.schema(), copy.contents()) == (live.schema(), live.contents())
        assert copy.size_bytes() == live.size_bytes()
        assert not live.is_same(copy)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_writing_to_the_copy_leaves_the_original(live: SQLite, journal: str) -> None:
    """No byte of the live file changes. The journals of the copy are removed with the copy."""
    run(live, f"PRAGMA journal_mode = {journal}")
    before = live.path.read_bytes()
    with live.copied("shop") as copy, closing(sqlite3.connect(copy.path)) as connection:
        connection.execute("DROP TABLE purchase")
        connection.execute("DELETE FROM customer")
        assert live.path.read_bytes() == before
    assert live.path.read_bytes() == before


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_copying_works_during_writes(live: SQLite, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is consistent, and the writer is not blocked."""
    monkeypatch.setattr("slipway.databases.sqlite.database.PAGES_AT_ONCE", 3)
    run(live, f"PRAGMA journal_mode = {journal}")
    written, checks = threading.Event(), []

    def write() -> None:
        if len(checks) == 3:
            run(live, "UPDATE purchase SET cents = cents + 1; UPDATE customer SET email = 'x' || email")
            written.set()
        checks.append(1)

    with cancellation.interruptible(write), live.copied("shop") as copy:
        assert written.is_set()
        [[cents]] = run(copy, "SELECT sum(cents) FROM purchase")
        [[changed]] = run(copy, "SELECT count(*) FROM customer WHERE email LIKE 'x%'")
        assert (cents, changed) in [(2_001_000, 0), (2_003_000, 50)]
        assert run(copy, "PRAGMA integrity_check") == [("ok",)]


def test_cancelled_copy_leaves_nothing(live: SQLite) -> None:
    """The cancellation is raised, and the copy is removed."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), cancellation.interruptible(stop), live.copied("shop"):
        pytest.fail("not interrupted")


def test_a_copy_of_a_killed_run_is_removed(live: SQLite, temporary: Path) -> None:
    """The next run removes the copy of a killed run, with its journals."""
    code = (
        "import os, sys; from pathlib import Path; from slipway.databases.opening import open_database\n"
        "with open_database(sys.argv[1], Path()).copied('shop') as copy:\n"
        "    open(copy.path.with_name('copy.sqlite-wal'), 'w'); print(copy.path, flush=True); os.read(0, 1)\n"
    )
    argv = [sys.executable, "-c", code, live.connection_url()]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        leftover = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert {file.name for file in leftover.parent.iterdir()} == {"copy.sqlite", "copy.sqlite-wal"}
    with live.copied("shop") as copy:
        assert copy.path == leftover
        assert {file.name for file in leftover.parent.iterdir()} == {"copy.sqlite"}


def test_copy_needs_enough_disk_space_and_time(live: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy starts if the disk is too small, or if the copy would take more than an hour."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("the disk is too small")
    assert failed.value.failed == (
        "There is not enough disk space for the copy of live.db and a migration of it: 0 MB are needed, 0 MB are free."
    )
    monkeypatch.setattr("slipway.databases.sqlite.database.FASTEST_BYTES_PER_S", 1.0)
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("the copy would take too long")
    assert failed.value.failed.startswith("There is not enough time for the copy of live.db: 0 GB take at least ")
    assert failed.value.expected == "The copy takes at most 60 minutes."


def test_copy_does_not_follow_a_link(live: SQLite, temporary: Path) -> None:
    """If another user created a link at the path of the copy's folder, the copy fails."""
    with live.empty("shop") as copy:
        folder = copy.path.parent
    folder.symlink_to(live.path.parent)
    with pytest.raises(SlipwayError) as failed, live.empty("shop"):
        pytest.fail("the link was followed")
    assert failed.value.failed == f"Could not create the folder {folder.name} for the copy in {temporary}: File exists."
    folder.unlink()


def test_links_to_a_file_are_the_same_database(live: SQLite) -> None:
    """Symbolic and hard links lead to the same database."""
    link = live.path.with_name("link.db")
    link.symlink_to(live.path)
    assert live.is_same(SQLite(live.url, live.path.parent))
    assert live.is_same(open_database(f"sqlite:///{link}", Path()))
    link.unlink()
    os.link(live.path, link)
    assert live.is_same(open_database(f"sqlite:///{link}", Path()))


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ('create table  "a" (id int -- the key\n, note text)', "CREATE TABLE a (id int, note text)"),
        ("CREATE TABLE [a] (`id` int, /* words */ note text )", "CREATE TABLE a(id int,note text)"),
        ("CREATE INDEX b ON a (note)", 'CREATE  INDEX "b" on "a" ("note")'),
        ("CREATE TABLE a (x text DEFAULT 'A  b', y numeric(4,2))", "create table a (x text default 'A  b',y numeric (4, 2))"),
    ],
)  # fmt: skip
def test_normalised_ignores_the_form_of_a_statement(written: str, same: str) -> None:
    """Spaces, comments, unnecessary quotes and the case of keywords make no difference."""
    assert normalised(written) == normalised(same)


@pytest.mark.parametrize(
    ("written", "other"),
    [
        ("CREATE TABLE a (x text DEFAULT 'A')", "CREATE TABLE a (x text DEFAULT 'a')"),
        ("CREATE TABLE a (x text)", "CREATE TABLE a (x text NOT NULL)"),
        ("CREATE TABLE a (x text, y text)", "CREATE TABLE a (y text, x text)"),
        ('CREATE TABLE a ("x y" text)', "CREATE TABLE a (x y text)"),
        ('CREATE TABLE a ("order" text)', "CREATE TABLE a (order text)"),
        ("CREATE TABLE a (x text) STRICT", "CREATE TABLE a (x text)"),
        ("CREATE TABLE a (x text DEFAULT '--b')", "CREATE TABLE a (x text DEFAULT '--c')"),
    ],
)
def test_normalised_keeps_the_meaning_of_a_statement(written: str, other: str) -> None:
    """Statements with different meanings have different texts."""
    assert normalised(written) != normalised(other)


def test_schema_text_contains_only_the_schema(live: SQLite) -> None:
    """Each column has its own line. Rows do not change the text, nor does a column that was added and dropped."""
    before = live.schema()
    assert before.splitlines()[4:9] == [
        "CREATE TABLE purchase (",
        "    id integer PRIMARY KEY,",
        "    customer_id int REFERENCES customer,",
        "    cents int CHECK (cents > 0)",
        ");",
    ]
    run(live, "ALTER TABLE purchase ADD COLUMN size int")
    assert live.schema() != before
    run(live, "ALTER TABLE purchase DROP COLUMN size; DELETE FROM purchase WHERE id = 1; VACUUM")
    assert live.schema() == before
    run(live, "PRAGMA user_version = 3")
    assert live.schema() != before


@pytest.mark.parametrize(
    ("setup", "change", "differences"),
    [
        pytest.param(
            "INSERT INTO a VALUES (1, 'x'), (2, 'y')",
            "UPDATE a SET note = CASE id WHEN 1 THEN 'y' ELSE 'x' END",
            ["a.note: values differ, 2 in 2 rows"],
            id="changed places",
        ),
        pytest.param("INSERT INTO a VALUES (1, -1)", "UPDATE a SET note = -2", ["a.note: values differ, 1 in 1 rows"]),
        pytest.param("INSERT INTO a VALUES (1, 1)", "UPDATE a SET note = 1.0", ["a.note: values differ, 1 in 1 rows"]),
        pytest.param("INSERT INTO a VALUES (1, 1)", "UPDATE a SET note = '1'", ["a.note: values differ, 1 in 1 rows"]),
        pytest.param(
            "INSERT INTO a VALUES (1, x'ff00')", "UPDATE a SET note = CAST(x'ff00' AS text)",
            ["a.note: values differ, 1 in 1 rows"], id="a blob and a text that is no UTF-8",
        ),
        pytest.param("INSERT INTO a VALUES (1, '')", "UPDATE a SET note = NULL", ["a.note: 1 values before, 0 after"]),
        pytest.param("INSERT INTO a VALUES (1, '')", "DELETE FROM a", ["a: 1 rows before, 0 after"]),
        pytest.param(
            "INSERT INTO a VALUES (1, 'x'), (2, 'y')",
            "DELETE FROM a WHERE id = 1; INSERT INTO a VALUES (1, 'x')", [], id="another order",
        ),
        pytest.param(
            "CREATE TABLE k (x, y); INSERT INTO k VALUES (1, 2), (3, 4)", "UPDATE k SET y = 6 - y",
            ["k.x: values differ, 2 in 2 rows", "k.y: values differ, 2 in 2 rows"], id="without a key",
        ),
        pytest.param(
            "CREATE VIRTUAL TABLE f USING fts5(words); INSERT INTO f VALUES ('one')", "UPDATE f SET words = 'two'",
            ["f_content.c0: values differ, 1 in 1 rows", "f_data: 3 rows before, 4 after", "f_idx: 1 rows before, 2 after"],
            id="full text",
        ),
    ],
)  # fmt: skip
def test_checksums_detect_every_change(live: SQLite, setup: str, change: str, differences: list[str]) -> None:
    """The checksums change with every change of a value, but not with the order of the rows."""
    run(live, f"CREATE TABLE a (id integer PRIMARY KEY, note); {setup}")
    before = live.contents()
    run(live, f"{change};")
    assert list(row_differences(before, live.contents())) == differences


def test_only_one_process_migrates(live: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process waits for the lock, then raises `Unavailable`. The lock file is removed."""
    with monkeypatch.context() as short:
        short.setattr("slipway.databases.sqlite.database.LOCK_WITHIN_S", 0.2)
        with live.hold_migration_lock(), pytest.raises(Unavailable) as failed, live.hold_migration_lock():
            pytest.fail("two processes hold the lock")
    assert failed.value.failed == "Another process is migrating live.db."
    with live.hold_migration_lock():
        pass


def test_commands_of_a_killed_attempt_are_ended(live: SQLite) -> None:
    """Only processes with this application name on this database are ended."""
    environment = {**os.environ, "DATABASE_URL": live.connection_url(), "PGAPPNAME": "slipway shop"}
    argv = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    processes = []
    for name in ("slipway shop", "slipway blog"):
        process = subprocess.Popen(
            argv, env={**environment, "PGAPPNAME": name}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.readline()
        processes.append(process)
    try:
        assert live.end_sessions("slipway shop") == 1
        assert processes[0].wait(120) is not None and processes[1].poll() is None
        assert live.end_sessions("slipway shop") == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "The database URL does not name a file."),
        ("sqlite:///:memory:", "The database URL does not name a file."),
        ("sqlite:///file:x?mode=ro&uri=true", "The database URL does not name a file."),
        ("sqlite+pysqlcipher:///x", "The driver pysqlcipher for sqlite is unknown."),
        ("postgresql+nothing://host/x", "The driver nothing for postgresql is unknown."),
        ("oracle://host/x", "Slipway does not support oracle databases."),
        ("hunter2", "The database URL is malformed."),
        ("", "The database URL is malformed."),
    ],
)
def test_invalid_url_is_rejected_and_not_repeated(url: str, message: str) -> None:
    """The URL is rejected before anything is read, and the error does not contain it."""
    with pytest.raises(InvalidInput) as refused:
        open_database(url, Path("/"))
    assert refused.value.failed == message


def test_reading_does_not_roll_back_an_interrupted_write(live: SQLite) -> None:
    """Reading raises `Unavailable` until a writer has rolled the interrupted write back."""
    before = live.schema(), live.contents()
    code = (
        "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1'); connection.execute('BEGIN')\n"  # so that pages reach the file
        "connection.execute('UPDATE purchase SET cents = cents + 1'); connection.execute('CREATE TABLE b (id int)')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(live.path)]).returncode == -signal.SIGKILL
    assert live.path.with_name("live.db-journal").exists()
    live.check()
    with pytest.raises(Unavailable) as failed:
        live.schema()
    assert failed.value.failed == (
        "Database live.db: an interrupted write must be rolled back; "
        "the next process that writes to the file does that, Slipway only reads."
    )
    run(live, "SELECT count(*) FROM customer")
    assert (live.schema(), live.contents()) == before


def missing_file(live: SQLite) -> str:
    live.path.unlink()
    return f"The SQLite file {live.path} does not exist."


def text_file(live: SQLite) -> str:
    live.path.write_text("a text, and no database")
    return f"{live.path} is not a SQLite file."


def damaged_file(live: SQLite) -> str:
    live.path.write_bytes(live.path.read_bytes()[:16] + b"\xff" * 4_000)
    return "Database live.db: file is not a database."


@pytest.mark.parametrize("break_file", [missing_file, text_file, damaged_file])
def test_invalid_file_is_named_and_not_created(live: SQLite, break_file: Callable[[SQLite], str]) -> None:
    """The error names a file that is missing or not a database. No file is created."""
    message = break_file(live)
    with pytest.raises(SlipwayError) as refused:
        live.check()
    assert refused.value.failed == message
    assert live.path.exists() is (break_file is not missing_file)
