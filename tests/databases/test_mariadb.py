"""A MariaDB database's schema, its sums and its copy, on a real server."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slipway.config.service import Migrations
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.databases.mariadb import tools
from slipway.databases.mariadb.database import MariaDB
from slipway.databases.opening import open_database
from slipway.deployments.ports import free_ports
from slipway.migrations.reversibility import row_differences
from tests.mariadb import PASSWORD, root_url, run, server_part
from tests.stack.runs import wait_for

TABLES = (
    "CREATE TABLE customer (id int AUTO_INCREMENT PRIMARY KEY, email varchar(60) NOT NULL UNIQUE)",
    "CREATE TABLE purchase (id int AUTO_INCREMENT PRIMARY KEY, customer_id int, cents int, words longtext, raw longblob, "
    "CONSTRAINT whose FOREIGN KEY (customer_id) REFERENCES customer (id))",
    "CREATE VIEW rich AS SELECT customer_id FROM purchase WHERE cents > 1000",
    "CREATE TRIGGER one BEFORE INSERT ON purchase FOR EACH ROW SET NEW.cents = abs(NEW.cents)",
    "CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN 2 * n",
    "INSERT INTO customer (email) SELECT concat(seq, '@example.com') FROM seq_1_to_50",
    "INSERT INTO purchase (customer_id, cents, words, raw) "
    "SELECT 1 + seq %% 50, seq, concat('Grüße ', seq, ' 😀'), unhex(md5(seq)) FROM seq_1_to_2000",
)
COPY = "slipway_copy_shop"
MIGRATIONS = Migrations(preset="alembic", lock_timeout_s=1)


@pytest.fixture
def live(mariadb_database: URL) -> Iterator[MariaDB]:
    """A small database in use; no copy is left behind."""
    run(mariadb_database, *TABLES)
    yield MariaDB(mariadb_database)
    assert run(mariadb_database, f"SHOW DATABASES LIKE '{COPY}'") == []


def test_a_query_of_a_change_file_only_reads(live: MariaDB) -> None:
    """Its first column, so many rows at most; a percent sign and a colon stand for themselves; writing is refused."""
    assert live.first_column("SELECT 'a:b%', 1 UNION SELECT 'c', 2 ORDER BY 1", 1) == ["a:b%"]
    with pytest.raises(InvalidInput, match=r"(?i)read.only"):
        live.first_column("INSERT INTO customer (email) VALUES ('x')", 1)
    with pytest.raises(InvalidInput, match="nothing"):
        live.first_column("SELECT nothing", 1)


def test_a_copy_has_the_rows_and_the_schema(live: MariaDB) -> None:
    """The copy is another database with the same schema, rows, triggers, routines and views."""
    with live.copied("shop") as copy:
        assert copy.name == COPY
        assert (copy.schema(), copy.contents()) == (live.schema(), live.contents())
        assert not live.is_same(copy) and live.is_same(MariaDB(live.url.set(drivername="mysql+mysqldb")))
        assert run(copy.url, "SELECT twice(2)") == [(4,)]


def test_the_schema_as_text(live: MariaDB) -> None:
    """Rows, counters and who made it make no difference; a column does, and leaves nothing when it goes."""
    before = live.schema()
    assert before.splitlines()[:2] == [
        "DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;",
        "CREATE TABLE `customer` (",
    ]
    assert "DEFINER=" not in before and "AUTO_INCREMENT=" not in before
    assert "TRIGGER one" in before and "FUNCTION `twice`" in before and "VIEW `rich`" in before
    run(live.url, "DELETE FROM purchase WHERE id > 5", "INSERT INTO customer (email) VALUES ('new')")
    assert live.schema() == before
    run(live.url, "ALTER TABLE purchase ADD COLUMN size int")
    assert live.schema() != before
    run(live.url, "ALTER TABLE purchase DROP COLUMN size")
    assert live.schema() == before


def test_writing_to_the_copy_leaves_the_original(live: MariaDB) -> None:
    """What is done to the copy is not done to the live database."""
    before = live.schema(), live.contents()
    with live.copied("shop") as copy:
        run(copy.url, "DELETE FROM purchase", "DROP TABLE purchase")
        assert copy.schema() != before[0]
    assert (live.schema(), live.contents()) == before


def test_a_trigger_that_names_the_live_database(live: MariaDB) -> None:
    """On the copy it would write to the live database, so nothing is rehearsed, and the copy is dropped."""
    run(live.url, f"CREATE TRIGGER log AFTER DELETE ON purchase FOR EACH ROW DELETE FROM `{live.name}`.customer")
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("reached")
    assert failed.value.failed == (
        f"On a copy these would still reach the live database {live.name} by its name: trigger log."
    )


def test_a_table_that_is_called_like_its_database(live: MariaDB) -> None:
    """Its columns are no names of the live database."""
    name = live.name
    run(
        live.url,
        f"CREATE TABLE {name} (number int)",
        f"CREATE VIEW numbers AS SELECT {name}.number FROM {name}",
        f"CREATE TRIGGER log AFTER INSERT ON customer FOR EACH ROW UPDATE {name} SET {name}.number = 1",
    )
    with live.copied("shop") as copy:
        assert copy.schema() == live.schema()


def test_a_copy_of_a_killed_run_is_dropped(live: MariaDB) -> None:
    """What a run that was killed left is dropped by the next, also while a session of it still holds a table."""
    code = (
        "import os, sys; from pathlib import Path; from slipway.databases.opening import open_database\n"
        "with open_database(sys.stdin.readline().strip(), Path()).copied('shop'): print(1, flush=True); os.read(0, 1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{live.connection_url()}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1\n"
        process.kill()
    forgotten = create_engine(live.url.set(database=COPY), poolclass=NullPool).connect()
    forgotten.exec_driver_sql("SELECT count(*) FROM purchase")  # in a transaction, which holds the table
    with live.copied("shop") as copy:
        assert copy.contents() == live.contents()
    forgotten.invalidate()
    forgotten.close()


def test_no_password_in_a_process_list(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools find address and password in an option file that only we can read, and it is gone afterwards."""
    seen: list[tuple[list[str], int]] = []
    popen = subprocess.Popen

    def spy(argv: list[str], **more: object) -> subprocess.Popen[bytes]:
        file = Path(argv[1].partition("=")[2])
        seen.append((argv, file.stat().st_mode & 0o777))
        return popen(argv, **more)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(tools.subprocess, "Popen", spy)
    with live.copied("shop"):
        pass
    assert [(Path(argv[0]).name, mode) for argv, mode in seen] == [("mariadb-dump", 0o600), ("mariadb", 0o600)]
    assert not any(PASSWORD in word for argv, _ in seen for word in argv)
    assert not any(Path(argv[1].partition("=")[2]).exists() for argv, _ in seen)


def test_a_copy_that_is_interrupted(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interruption is raised again, both tools end, and nothing is left."""

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cancellation, "EVERY_S", 0.001)
    # 30 MB: no machine starts both tools and copies this much within a millisecond.
    run(live.url, "INSERT INTO purchase (words) SELECT repeat('x', 100000) FROM seq_1_to_300")
    with pytest.raises(KeyboardInterrupt), cancellation.interruptible(stop), live.copied("shop"):
        pytest.fail("not interrupted")
    assert not [child for child in psutil.Process().children() if child.name().startswith(("mariadb-dump", "mariadb "))]


def test_a_dump_that_fails(live: MariaDB) -> None:
    """The tool's own reason is told, and nothing is left."""
    run(live.url, "CREATE VIEW broken AS SELECT id FROM customer", "ALTER TABLE customer RENAME COLUMN id TO number")
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("copied")
    assert failed.value.failed.startswith("mariadb-dump ended with ")
    assert f"View '{live.name}.broken' references invalid table(s)" in failed.value.failed
    assert failed.value.retry_is_safe


def test_no_room_and_no_time(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is begun where the server's disk, which is ours here, or the hour is too small."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(
        SlipwayError, match=r"^There is no room for the copy of test_\w+ and a migration of it: \d MB are"
    ):
        live.copied("shop").__enter__()
    monkeypatch.setattr("slipway.databases.mariadb.database.FASTEST_BYTES_PER_S", 1.0)
    with pytest.raises(
        SlipwayError, match=r"^There is no time for the copy of test_\w+: 0 GB take at least \d+ minutes\."
    ):
        live.copied("shop").__enter__()


@pytest.mark.parametrize(
    ("made", "then", "told"),
    [
        pytest.param(
            "(id int PRIMARY KEY, note text) SELECT 1 AS id, 'x' AS note UNION SELECT 2, 'y'",
            "UPDATE a SET note = CASE id WHEN 1 THEN 'y' ELSE 'x' END",
            ["a.note: values differ, 2 in 2 rows"],
            id="changed places",
        ),
        pytest.param(
            "(id int PRIMARY KEY, f float) SELECT 1 AS id, 16777215 AS f",
            "UPDATE a SET f = 16777214",
            ["a.f: values differ, 1 in 1 rows"],
            id="a float in its last digit",
        ),
        pytest.param(
            "(id int PRIMARY KEY, d datetime(6)) SELECT 1 AS id, '2026-01-01 00:00:00.000001' AS d",
            "UPDATE a SET d = '2026-01-01 00:00:00.000002'",
            ["a.d: values differ, 1 in 1 rows"],
            id="a microsecond",
        ),
        pytest.param(
            "(id int PRIMARY KEY, note text) SELECT 1 AS id, 'x' AS note",
            "UPDATE a SET note = 'X'",
            ["a.note: values differ, 1 in 1 rows"],
            id="what the collation calls equal",
        ),
        pytest.param(
            "(id int PRIMARY KEY, note text) SELECT 1 AS id, '' AS note",
            "UPDATE a SET note = NULL",
            ["a.note: 1 values before, 0 after"],
            id="empty and null",
        ),
        pytest.param(
            "(x int, y int) SELECT 1 AS x, 2 AS y UNION SELECT 3, 4",
            "UPDATE a SET y = 6 - y",
            ["a.x: values differ, 2 in 2 rows", "a.y: values differ, 2 in 2 rows"],
            id="without a key",
        ),
        pytest.param(
            "(id int PRIMARY KEY, j json, `per%%cent:` bit(3), g point) "
            "SELECT 1 AS id, '[1]' AS j, b'101' AS `per%%cent:`, point(1, 2) AS g",
            "UPDATE a SET `per%%cent:` = b'100', g = point(2, 1)",
            ["a.per%cent:: values differ, 1 in 1 rows", "a.g: values differ, 1 in 1 rows"],
            id="rare types and names",
        ),
    ],
)
def test_sums(mariadb_database: URL, made: str, then: str, told: list[str]) -> None:
    """Whatever a value becomes is seen."""
    run(mariadb_database, f"CREATE TABLE a {made}")
    before = MariaDB(mariadb_database).contents()
    run(mariadb_database, then)
    assert list(row_differences(before, MariaDB(mariadb_database).contents())) == told


def test_only_one_moves(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second waits, then says so."""
    with monkeypatch.context() as short:
        short.setattr("slipway.databases.mariadb.database.LOCK_WITHIN_S", 0.2)
        with live.only_mover(), pytest.raises(Unavailable) as failed, live.only_mover():
            pytest.fail("two at once")
    assert failed.value.failed == f"Somebody else migrates {live.name}."
    with live.only_mover():
        assert live.server_started() == live.server_started()


def test_a_server_that_was_started_again(tmp_path: Path, require: Callable[[str], None]) -> None:
    """Its start is told the same each time, and another one after it went down."""
    require("mariadbd")
    [port] = free_ports([0])
    server, told = server_part(tmp_path, port), []
    database = MariaDB(root_url(port).set(database="mysql"))
    for _ in range(2):
        server.start()
        try:
            server.wait_until_ready(threading.Event())
            told.append({database.server_started() for _ in range(2)})
            wait_for(
                lambda: run(database.url, "SHOW STATUS LIKE 'Uptime'") != [("Uptime", "0")], "a second of its life"
            )
            told[-1].add(database.server_started())
        finally:
            server.stop()
    assert [len(found) for found in told] == [1, 1] and told[0] != told[1]


def test_a_session_of_a_dead_attempt_is_ended(live: MariaDB) -> None:
    """Only what came by the URL of that service's commands is ended, in the middle of its statement."""
    sessions = [
        create_engine(url, poolclass=NullPool).connect()
        for url in (
            live.command_url("slipway shop", MIGRATIONS),
            live.command_url("slipway blog", MIGRATIONS),
            live.connection_url(),
        )
    ]
    limits = "SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout"
    assert [tuple(session.exec_driver_sql(limits).one()) for session in sessions[:2]] == [(1, 1)] * 2
    ended: list[str] = []

    def sleep() -> None:
        try:
            sessions[0].exec_driver_sql("SELECT sleep(600)")
        except SQLAlchemyError as error:
            ended.append(type(error).__name__)

    slow = threading.Thread(target=sleep)
    slow.start()
    wait_for(
        lambda: run(live.url, "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT sleep%%'"), "it"
    )
    assert live.end_sessions("slipway shop") == 1
    slow.join(120)
    assert ended == ["OperationalError"]
    assert [session.exec_driver_sql("SELECT 1").scalar() for session in sessions[1:]] == [1, 1]
    assert live.end_sessions("slipway shop") == 0
    for session in sessions:
        session.invalidate()
        session.close()


@pytest.mark.parametrize(
    ("driver", "query", "host", "codes"),
    [
        ("mysql+pymysql", {}, "127.0.0.1", []),
        ("mariadb+mysqldb", {}, "localhost", []),
        ("mysql", {}, "127.0.0.1", ["lock-limit-not-set"]),
        ("mysql+pymysql", {"init_command": "SET @a = 1"}, "db.example", ["lock-limit-not-set", "room-not-checked"]),
    ],
)
def test_what_is_not_checked(driver: str, query: dict[str, str], host: str, codes: list[str]) -> None:
    """What a driver or a server does not let us do is told, and such a URL is left as it stands."""
    database = open_database(
        URL.create(driver, "u", "p", host, 1, "x", query).render_as_string(hide_password=False), Path()
    )
    assert [finding.code for finding in database.unchecked[6:]] == codes
    url = database.command_url("slipway shop", MIGRATIONS)
    assert (url == database.connection_url()) is ("lock-limit-not-set" in codes)
    assert "%" not in url.partition("?")[2] or query


def test_a_server_that_does_not_answer(live: MariaDB) -> None:
    """A wrong password and a server that is away are told without the password."""
    with pytest.raises(Unavailable) as failed:
        MariaDB(live.url.set(password="hunter2-wrong")).check()
    assert failed.value.failed.startswith(f"Database {live.name}: Access denied for user 'shop'@")
    assert "hunter2" not in str(failed.value)
    with pytest.raises(Unavailable) as failed:
        MariaDB(live.url.set(port=free_ports([0])[0])).check()
    assert failed.value.failed.startswith(f"Database {live.name}: Can't connect to MySQL server on '127.0.0.1'")


def test_a_live_database_that_is_called_like_a_copy(mariadb: URL) -> None:
    """It is never dropped: who asks for its copy is refused."""
    with pytest.raises(InvalidInput) as refused, MariaDB(mariadb.set(database="Slipway_Copy_shop")).empty("shop"):
        pytest.fail("dropped")
    assert refused.value.failed == "Slipway_Copy_shop is the name of a copy."


def test_no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the dump tool nothing is begun."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(SlipwayError) as failed:
        MariaDB(URL.create("mysql", database="x")).check()
    assert failed.value.failed == "There is no mariadb-dump and no mysqldump."
    assert not [process for process in psutil.Process().children() if "mariadb-dump" in process.name()]
