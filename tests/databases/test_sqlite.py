"""A SQLite file's schema, its sums and its copy, on real files."""

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
    """Run statements; of one, its rows."""
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall() if ";" not in sql else connection.executescript(sql).fetchall()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder under which copies are made."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once a process
    return made


@pytest.fixture
def live(tmp_path: Path, temporary: Path) -> Iterator[SQLite]:
    """A small database in use."""
    (tmp_path / "shop").mkdir()
    found = open_database("sqlite:///live.db", tmp_path / "shop")
    assert isinstance(found, SQLite)
    run(found, TABLES)
    yield found
    assert list(temporary.iterdir()) == []
    assert {file.name for file in (tmp_path / "shop").iterdir()} <= {"live.db", "live.db-wal", "live.db-shm", "link.db"}


def test_a_query_of_a_change_file_only_reads(live: SQLite) -> None:
    """Its first column, so many rows at most; writing is refused."""
    assert live.first_column("SELECT 'a:b%', 1 UNION SELECT 'c', 2 ORDER BY 1", 1) == ["a:b%"]
    for query, told in (("CREATE TABLE more (id int)", "readonly"), ("SELECT absent", "no such column")):
        with pytest.raises(InvalidInput, match=told):
            live.first_column(query, 1)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_copy_has_the_rows_and_the_schema(live: SQLite, temporary: Path, journal: str) -> None:
    """The copy is another file with the same schema and rows, in a folder that only we can read."""
    run(live, f"PRAGMA journal_mode = {journal}")
    with live.copied("shop") as copy:
        assert copy.path.is_relative_to(temporary) and copy.path.parent.stat().st_mode & 0o777 == 0o700
        assert (copy.schema(), copy.contents()) == (live.schema(), live.contents())
        assert copy.size_bytes() == live.size_bytes()
        assert not live.is_same(copy)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_writing_to_the_copy_leaves_the_original(live: SQLite, journal: str) -> None:
    """What is done to the copy is not done to the live file, of which no byte changes; its journals go with the copy."""
    run(live, f"PRAGMA journal_mode = {journal}")
    before = live.path.read_bytes()
    with live.copied("shop") as copy, closing(sqlite3.connect(copy.path)) as connection:
        connection.execute("DROP TABLE purchase")
        connection.execute("DELETE FROM customer")
        assert live.path.read_bytes() == before
    assert live.path.read_bytes() == before


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_copy_while_somebody_writes(live: SQLite, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is of one moment, and the writer gets through."""
    monkeypatch.setattr("slipway.databases.sqlite.database.PAGES_AT_ONCE", 3)
    run(live, f"PRAGMA journal_mode = {journal}")
    wrote, looks = threading.Event(), []

    def write() -> None:
        if len(looks) == 3:
            run(live, "UPDATE purchase SET cents = cents + 1; UPDATE customer SET email = 'x' || email")
            wrote.set()
        looks.append(1)

    with cancellation.interruptible(write), live.copied("shop") as copy:
        assert wrote.is_set()
        [[cents]] = run(copy, "SELECT sum(cents) FROM purchase")
        [[changed]] = run(copy, "SELECT count(*) FROM customer WHERE email LIKE 'x%'")
        assert (cents, changed) in [(2_001_000, 0), (2_003_000, 50)]
        assert run(copy, "PRAGMA integrity_check") == [("ok",)]


def test_a_copy_that_is_interrupted(live: SQLite) -> None:
    """What interrupts goes on, and nothing is left."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), cancellation.interruptible(stop), live.copied("shop"):
        pytest.fail("not interrupted")


def test_a_copy_of_a_killed_run_is_removed(live: SQLite, temporary: Path) -> None:
    """What a run that was killed with its copy leaves is removed by the next one; another database's is left alone."""
    code = (
        "import os, sys; from pathlib import Path; from slipway.databases.opening import open_database\n"
        "with open_database(sys.argv[1], Path()).copied('shop') as copy:\n"
        "    open(copy.path.with_name('copy.sqlite-wal'), 'w'); print(copy.path, flush=True); os.read(0, 1)\n"
    )
    argv = [sys.executable, "-c", code, live.connection_url()]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert {file.name for file in left.parent.iterdir()} == {"copy.sqlite", "copy.sqlite-wal"}
    with live.copied("shop") as copy:
        assert copy.path == left
        assert {file.name for file in left.parent.iterdir()} == {"copy.sqlite"}


def test_no_room_and_no_time(live: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is begun where the disk or the hour is too small."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("no room")
    assert failed.value.failed == (
        "There is no room for the copy of live.db and a migration of it: 0 MB are needed, 0 MB free."
    )
    monkeypatch.setattr("slipway.databases.sqlite.database.FASTEST_BYTES_PER_S", 1.0)
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("no time")
    assert failed.value.failed.startswith("There is no time for the copy of live.db: 0 GB take at least ")
    assert failed.value.expected == "A copy within 60 minutes."


def test_a_folder_that_is_not_ours(live: SQLite, temporary: Path) -> None:
    """A link that somebody put where the copy goes is not followed."""
    with live.empty("shop") as copy:
        folder = copy.path.parent
    folder.symlink_to(live.path.parent)
    with pytest.raises(SlipwayError) as failed, live.empty("shop"):
        pytest.fail("followed")
    assert failed.value.failed == f"The folder {folder.name} for the copy cannot be made in {temporary}: File exists."
    folder.unlink()


def test_the_same_file_by_another_name(live: SQLite) -> None:
    """Links lead to one database."""
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
def test_what_makes_no_difference(written: str, same: str) -> None:
    """Spaces, comments, needless quotes and the case of keywords are no difference of two schemas."""
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
def test_what_makes_a_difference(written: str, other: str) -> None:
    """What a database behaves differently by is one."""
    assert normalised(written) != normalised(other)


def test_the_schema_as_text(live: SQLite) -> None:
    """A line for each column; rows make no difference, and a column that came and went leaves none."""
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
    ("first", "then", "told"),
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
def test_sums(live: SQLite, first: str, then: str, told: list[str]) -> None:
    """Whatever a value becomes is seen, and the order of rows is not."""
    run(live, f"CREATE TABLE a (id integer PRIMARY KEY, note); {first}")
    before = live.contents()
    run(live, f"{then};")
    assert list(row_differences(before, live.contents())) == told


def test_only_one_moves(live: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second waits, then says so; nothing stays behind."""
    with monkeypatch.context() as short:
        short.setattr("slipway.databases.sqlite.database.LOCK_WITHIN_S", 0.2)
        with live.only_mover(), pytest.raises(Unavailable) as failed, live.only_mover():
            pytest.fail("two at once")
    assert failed.value.failed == "Somebody else migrates live.db."
    with live.only_mover():
        pass


def test_a_command_of_a_dead_attempt_is_ended(live: SQLite) -> None:
    """Only a process of that name on that database is ended."""
    environment = {**os.environ, "DATABASE_URL": live.connection_url(), "PGAPPNAME": "slipway shop"}
    argv = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    started = []
    for name in ("slipway shop", "slipway blog"):
        process = subprocess.Popen(
            argv, env={**environment, "PGAPPNAME": name}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.readline()
        started.append(process)
    try:
        assert live.end_sessions("slipway shop") == 1
        assert started[0].wait(120) is not None and started[1].poll() is None
        assert live.end_sessions("slipway shop") == 0
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "The database URL names no file."),
        ("sqlite:///:memory:", "The database URL names no file."),
        ("sqlite:///file:x?mode=ro&uri=true", "The database URL names no file."),
        ("sqlite+pysqlcipher:///x", "The driver pysqlcipher of sqlite is unknown."),
        ("postgresql+nothing://host/x", "The driver nothing of postgresql is unknown."),
        ("oracle://host/x", "oracle is no database that Slipway can rehearse on."),
        ("hunter2", "The database URL cannot be read."),
        ("", "The database URL cannot be read."),
    ],
)
def test_a_url_that_cannot_be_used(url: str, told: str) -> None:
    """What names no file is refused before anything is looked at, and nothing secret is told."""
    with pytest.raises(InvalidInput) as refused:
        open_database(url, Path("/"))
    assert refused.value.failed == told


def test_a_write_that_was_cut_off(live: SQLite) -> None:
    """Reading undoes nothing: it is told, until whoever writes has undone it."""
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
        "Database live.db: a write was cut off and has to be undone, which whoever writes to it next does; Slipway only reads."
    )
    run(live, "SELECT count(*) FROM customer")
    assert (live.schema(), live.contents()) == before


def gone(live: SQLite) -> str:
    live.path.unlink()
    return f"There is no SQLite file {live.path}."


def other(live: SQLite) -> str:
    live.path.write_text("a text, and no database")
    return f"{live.path} is no SQLite file."


def broken(live: SQLite) -> str:
    live.path.write_bytes(live.path.read_bytes()[:16] + b"\xff" * 4_000)
    return "Database live.db: file is not a database."


@pytest.mark.parametrize("make", [gone, other, broken])
def test_a_file_that_is_none(live: SQLite, make: Callable[[SQLite], str]) -> None:
    """A file that is missing, or no database, is told by its path, and none is made."""
    told = make(live)
    with pytest.raises(SlipwayError) as refused:
        live.check()
    assert refused.value.failed == told
    assert live.path.exists() is (make is not gone)
