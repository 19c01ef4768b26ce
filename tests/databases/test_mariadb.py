"""The schema, checksums and copies of a MariaDB database, on a real server."""

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
    """Create a small database with rows. Check at the end that no copy is left."""
    run(mariadb_database, *TABLES)
    yield MariaDB(mariadb_database)
    assert run(mariadb_database, f"SHOW DATABASES LIKE '{COPY}'") == []


def test_a_query_of_a_change_file_can_only_read(live: MariaDB) -> None:
    """The first column is returned up to the limit, `%` and `:` need no escapes, and writes are rejected."""
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


def test_schema_text_contains_only_the_schema(live: MariaDB) -> None:
    """Rows, counters and definers do not change the text. A new column does, until it is dropped."""
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
    """Changes of the copy do not change the live database."""
    before = live.schema(), live.contents()
    with live.copied("shop") as copy:
        run(copy.url, "DELETE FROM purchase", "DROP TABLE purchase")
        assert copy.schema() != before[0]
    assert (live.schema(), live.contents()) == before


def test_copy_is_rejected_if_a_trigger_names_the_live_database(live: MariaDB) -> None:
    """In the copy, the trigger would write to the live database. So the rehearsal fails, and the copy is dropped."""
    run(live.url, f"CREATE TRIGGER log AFTER DELETE ON purchase FOR EACH ROW DELETE FROM `{live.name}`.customer")
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("reached")
    assert failed.value.failed == (
        f"In a copy these would still use the live database {live.name} by its name: trigger log."
    )


def test_a_table_may_have_the_name_of_its_database(live: MariaDB) -> None:
    """Columns of this table are not references to the live database."""
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
    """The next run drops the copy of a killed run, even if a session still holds a table lock."""
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
    open_session = create_engine(live.url.set(database=COPY), poolclass=NullPool).connect()
    open_session.exec_driver_sql("SELECT count(*) FROM purchase")  # the open transaction holds a lock on the table
    with live.copied("shop") as copy:
        assert copy.contents() == live.contents()
    open_session.invalidate()
    open_session.close()


def test_no_password_in_a_process_list(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools read the password from an option file that only this user can read. The file is removed afterwards."""
    calls: list[tuple[list[str], int]] = []
    popen = subprocess.Popen

    def spy(argv: list[str], **more: object) -> subprocess.Popen[bytes]:
        file = Path(argv[1].partition("=")[2])
        calls.append((argv, file.stat().st_mode & 0o777))
        return popen(argv, **more)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(tools.subprocess, "Popen", spy)
    with live.copied("shop"):
        pass
    assert [(Path(argv[0]).name, mode) for argv, mode in calls] == [("mariadb-dump", 0o600), ("mariadb", 0o600)]
    assert not any(PASSWORD in argument for argv, _ in calls for argument in argv)
    assert not any(Path(argv[1].partition("=")[2]).exists() for argv, _ in calls)


def test_cancelled_copy_leaves_nothing(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cancellation is raised, both tools end, and the copy is dropped."""

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cancellation, "EVERY_S", 0.001)
    # 30 MB: no machine starts both tools and copies this much within a millisecond.
    run(live.url, "INSERT INTO purchase (words) SELECT repeat('x', 100000) FROM seq_1_to_300")
    with pytest.raises(KeyboardInterrupt), cancellation.interruptible(stop), live.copied("shop"):
        pytest.fail("not interrupted")
    assert not [child for child in psutil.Process().children() if child.name().startswith(("mariadb-dump", "mariadb "))]


def test_failed_dump_reports_the_reason_of_the_tool(live: MariaDB) -> None:
    """The error contains the tool's own reason, and the copy is dropped."""
    run(live.url, "CREATE VIEW broken AS SELECT id FROM customer", "ALTER TABLE customer RENAME COLUMN id TO number")
    with pytest.raises(SlipwayError) as failed, live.copied("shop"):
        pytest.fail("copied")
    assert failed.value.failed.startswith("mariadb-dump exited with ")
    assert f"View '{live.name}.broken' references invalid table(s)" in failed.value.failed
    assert failed.value.retry_is_safe


def test_copy_needs_enough_disk_space_and_time(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy starts if the disk is too small, or if the copy would take more than an hour. The server is local here."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(
        SlipwayError, match=r"^There is not enough disk space for the copy of test_\w+ and a migration of it: \d MB are"
    ):
        live.copied("shop").__enter__()
    monkeypatch.setattr("slipway.databases.mariadb.database.FASTEST_BYTES_PER_S", 1.0)
    with pytest.raises(
        SlipwayError, match=r"^There is not enough time for the copy of test_\w+: 0 GB take at least \d+ minutes\."
    ):
        live.copied("shop").__enter__()


@pytest.mark.parametrize(
    ("table", "change", "differences"),
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
def test_checksums_detect_every_change(mariadb_database: URL, table: str, change: str, differences: list[str]) -> None:
    """The checksums of a column change with every change of a value."""
    run(mariadb_database, f"CREATE TABLE a {table}")
    before = MariaDB(mariadb_database).contents()
    run(mariadb_database, change)
    assert list(row_differences(before, MariaDB(mariadb_database).contents())) == differences


def test_only_one_process_migrates(live: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process waits for the lock, then raises `Unavailable`."""
    with monkeypatch.context() as short:
        short.setattr("slipway.databases.mariadb.database.LOCK_WITHIN_S", 0.2)
        with live.hold_migration_lock(), pytest.raises(Unavailable) as failed, live.hold_migration_lock():
            pytest.fail("two processes hold the lock")
    assert failed.value.failed == f"Another process is migrating {live.name}."
    with live.hold_migration_lock():
        assert live.server_started() == live.server_started()


def test_server_start_time_changes_after_a_restart(tmp_path: Path, require: Callable[[str], None]) -> None:
    """The start time is the same on every call, and different after a restart."""
    require("mariadbd")
    [port] = free_ports([0])
    server, start_times = server_part(tmp_path, port), []
    database = MariaDB(root_url(port).set(database="mysql"))
    for _ in range(2):
        server.start()
        try:
            server.wait_until_ready(threading.Event())
            start_times.append({database.server_started() for _ in range(2)})
            wait_for(
                lambda: run(database.url, "SHOW STATUS LIKE 'Uptime'") != [("Uptime", "0")], "an uptime of one second"
            )
            start_times[-1].add(database.server_started())
        finally:
            server.stop()
    assert [len(values) for values in start_times] == [1, 1] and start_times[0] != start_times[1]


def test_sessions_of_a_killed_attempt_are_ended(live: MariaDB) -> None:
    """Only sessions with the URL of this service's commands are ended, even during a statement."""
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
        lambda: run(live.url, "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT sleep%%'"),
        "the statement",
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
def test_unchecked_lists_what_the_driver_or_server_does_not_support(
    driver: str, query: dict[str, str], host: str, codes: list[str]
) -> None:
    """Without support for the limits, the command URL is unchanged."""
    database = open_database(
        URL.create(driver, "u", "p", host, 1, "x", query).render_as_string(hide_password=False), Path()
    )
    assert [finding.code for finding in database.unchecked[6:]] == codes
    url = database.command_url("slipway shop", MIGRATIONS)
    assert (url == database.connection_url()) is ("lock-limit-not-set" in codes)
    assert "%" not in url.partition("?")[2] or query


def test_connection_errors_do_not_contain_the_password(live: MariaDB) -> None:
    """A wrong password and a stopped server raise `Unavailable`."""
    with pytest.raises(Unavailable) as failed:
        MariaDB(live.url.set(password="hunter2-wrong")).check()
    assert failed.value.failed.startswith(f"Database {live.name}: Access denied for user 'shop'@")
    assert "hunter2" not in str(failed.value)
    with pytest.raises(Unavailable) as failed:
        MariaDB(live.url.set(port=free_ports([0])[0])).check()
    assert failed.value.failed.startswith(f"Database {live.name}: Can't connect to MySQL server on '127.0.0.1'")


def test_a_live_database_with_the_name_of_a_copy_is_never_dropped(mariadb: URL) -> None:
    """A request for its copy is rejected."""
    with pytest.raises(InvalidInput) as refused, MariaDB(mariadb.set(database="Slipway_Copy_shop")).empty("shop"):
        pytest.fail("dropped")
    assert refused.value.failed == "Slipway_Copy_shop is a reserved name for copies."


def test_check_fails_without_the_dump_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no dump tool is installed, nothing starts."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(SlipwayError) as failed:
        MariaDB(URL.create("mysql", database="x")).check()
    assert failed.value.failed == "Neither mariadb-dump nor mysqldump is installed."
    assert not [process for process in psutil.Process().children() if "mariadb-dump" in process.name()]
