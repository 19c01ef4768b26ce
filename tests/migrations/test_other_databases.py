"""Rehearse, migrate and roll back on real databases other than PostgreSQL, with a plain command-line tool."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import NullPool

from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import EnvironmentReference
from slipway.migrations.migrate import migrate
from slipway.migrations.rehearse import rehearse
from slipway.migrations.roll_back import roll_back
from tests.histories import VARIABLE, History
from tests.mariadb import run
from tests.plain_histories import BIN, Move, PlainHistory

FIRST: Move = ("CREATE TABLE a (id int PRIMARY KEY, note varchar(40))", "DROP TABLE a")
INDEX: Move = ("CREATE INDEX a_note ON a (note)", "DROP INDEX a_note")
COLUMN: Move = ("ALTER TABLE a ADD COLUMN size int", "ALTER TABLE a DROP COLUMN size")
HALF: Move = ("ALTER TABLE a ADD COLUMN size int;SELECT nowhere", "ALTER TABLE a DROP COLUMN size")
ROWS = "INSERT INTO a VALUES (1, 'one'), (2, 'two'), (3, 'three')"

NEW_TABLE = {
    "sqlite": ["+CREATE TABLE b (", "+    id int", "+);"],
    "mysql": [
        "+CREATE TABLE `b` (",
        "+  `id` int(11) DEFAULT NULL",
        "+) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;",
    ],
}
DOWN = "`python migrate.py down 0001` exited with 1: sqlalchemy.exc.OperationalError: "
NO_TABLE = {
    "sqlite": [f"{DOWN}(sqlite3.OperationalError) no such table: c. The database is still at revision 0002."],
    "mysql": [
        f"{DOWN}(pymysql.err.OperationalError) (1051, \"Unknown table 'slipway_copy_shop.c'\"). The database is still at "
        "revision 0002."
    ],
}

Make = Callable[..., PlainHistory]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the folder in which copies are made; it must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # tempfile caches the folder
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path, temporary: Path) -> Iterator[str]:
    """Yield the URL of an empty database; no copy may remain beside it."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "live.db").touch()
        yield "sqlite:///data/live.db"
        assert [file.name for file in (tmp_path / "data").iterdir()] == ["live.db"]
        return
    server: URL = request.getfixturevalue("mariadb_database")
    yield server.render_as_string(hide_password=False)
    assert run(server, "SHOW DATABASES LIKE 'slipway%%'") == []


only = partial(pytest.mark.parametrize, "url", indirect=True)


@pytest.fixture
def make(tmp_path: Path, url: str, forked_python: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a history whose live database is at its first revision, with rows."""
    monkeypatch.setenv(VARIABLE, url)

    def build(*moves: Move) -> PlainHistory:
        history = PlainHistory(tmp_path, url, [FIRST, *(fitting(url, move) for move in moves)], forked_python)
        history.set_first_revision(ROWS)
        return history

    return build


def fitting(url: str, move: Move) -> Move:
    """Return a move in the dialect of the database: only MariaDB needs the table of an index to drop it."""
    return (move[0], move[1].replace("DROP INDEX a_note", "DROP INDEX a_note ON a") if "mysql" in url else move[1])


def state(history: PlainHistory) -> tuple[object, ...]:
    """Return the state that a rehearsal must not change."""
    return history.live.schema(), history.live.contents(), history.version()


def test_a_reversible_change_is_rehearsed_as_lossless(make: Make) -> None:
    """Up, down and up run on a copy; each check that did not run is a finding; the live database is unchanged."""
    history = make(INDEX)
    before = state(history)
    rehearsal = rehearse(history.plan(), history.folder)
    assert (rehearsal.reversibility, rehearsal.losses, rehearsal.rows) == ("lossless", (), 4)
    assert [run.argv[2:] for run in rehearsal.commands] == [("up", "0002"), ("down", "0001"), ("up", "0002")]
    everywhere = [
        "statements-not-seen",
        "indexes-not-checked",
        "plans-not-checked",
        "sql-not-checked",
        "blockers-not-named",
    ]
    own = ["events-not-copied"] if "mysql" in history.url else ["lock-limit-not-set"]
    assert [finding.code for finding in rehearsal.findings] == [*everywhere, *own, "old-code-not-checked"]
    assert {finding.level for finding in rehearsal.findings} == {"info"}
    assert rehearsal.copy_bytes > 0 and rehearsal.grown_bytes > 0
    assert (rehearsal.statements, rehearsal.invalid_at_start) == ((), ())
    assert state(history) == before


@pytest.mark.parametrize(
    ("move", "reversibility", "losses"),
    [
        pytest.param(INDEX, "lossless", [], id="index"),
        pytest.param(COLUMN, "lossless", [], id="column"),
        pytest.param(("UPDATE a SET note = upper(note)", "UPDATE a SET note = lower(note)"), "lossless", [], id="data"),
        pytest.param(
            ("ALTER TABLE a DROP COLUMN note", "ALTER TABLE a ADD COLUMN note varchar(40)"),
            "lossy",
            ["a.note: 3 values before, 0 after"],
            id="column dropped",
        ),
        pytest.param(
            ("UPDATE a SET note = CASE id WHEN 1 THEN 'two' WHEN 2 THEN 'one' ELSE note END", "UPDATE a SET id = id"),
            "does nothing",
            ["a.note: values differ, 3 in 3 rows"],
            id="two values changed places",
        ),
        pytest.param(
            ("DELETE FROM a WHERE id > 1", ""), "does nothing", ["a: 3 rows before, 1 after"], id="rows deleted"
        ),
        pytest.param(
            ("CREATE TABLE b (id int)", ""),
            "does nothing",
            NEW_TABLE,
            id="empty downgrade of a table",
        ),
        pytest.param(
            ("CREATE TABLE b (id int)", "DROP TABLE c"),
            "fails",
            NO_TABLE,
            id="downgrade fails",
        ),
    ],
)
def test_the_reversibility_of_a_downgrade(
    make: Make, move: Move, reversibility: str, losses: list[str] | dict[str, list[str]]
) -> None:
    """The downgrade is judged by schema and rows, and each loss is listed; the live database is unchanged."""
    history = make(move)
    before = state(history)
    rehearsal = rehearse(history.plan(), history.folder)
    lines = [line.replace(history.live.name, "live") for line in rehearsal.losses]
    kind = history.url.partition("+")[0].partition(":")[0]
    assert (rehearsal.reversibility, lines) == (reversibility, losses[kind] if isinstance(losses, dict) else losses)
    codes = [] if reversibility == "lossless" else [f"way-back-{reversibility.replace(' ', '-')}"]
    assert [finding.code for finding in rehearsal.findings if finding.level == "warning"] == codes
    assert state(history) == before


def test_an_upgrade_that_fails_on_the_copy_stops_the_rehearsal(make: Make) -> None:
    """The error names the revision of the copy; the live database is unchanged."""
    history = make(HALF)
    before = state(history)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan(), history.folder)
    cause = "(sqlite3.OperationalError) no such column: nowhere."
    if "mysql" in history.url:
        cause = "(pymysql.err.OperationalError) (1054, \"Unknown column 'nowhere' in 'SELECT'\")."
    assert failed.value.failed == (
        "The upgrade failed on the copy of the live database: `python migrate.py up 0002` exited with 1: "
        f"sqlalchemy.exc.OperationalError: {cause} The database is still at revision 0001. Nothing live was changed."
    )
    assert failed.value.retry_is_safe
    assert state(history) == before


def test_migrate_and_roll_back_can_be_repeated(make: Make) -> None:
    """A repeated migration or rollback does nothing, and every command is recorded."""
    history = make(INDEX)
    history.bin_folder = BIN  # Python itself, not in a fork
    plan, before = history.plan(), state(history)
    rehearsal = rehearse(plan, history.folder)

    moved, again = (migrate(plan, history.folder, rehearsal) for _ in range(2))
    assert moved is not None and (moved.before, moved.after, moved.acted) == ("0001", "0002", True)
    assert [run.argv[2:] for run in moved.commands] == [("current",), ("up", "0002"), ("current",)]
    assert again is not None and (again.before, again.after, again.acted) == ("0002", "0002", False)
    assert history.version() == "0002" and "a_note" in history.live.schema()

    back, again_back = (roll_back(plan, history.folder, rehearsal) for _ in range(2))
    assert back.sentence == "the database moved from revision 0002 to 0001."
    assert again_back.sentence == "no action was needed: the database is already at revision 0001."
    assert state(history) == before


def test_a_half_done_live_migration_is_not_retried(make: Make) -> None:
    """A migration that commits each statement and fails is between two revisions, so a retry is not safe."""
    history = make(COLUMN)
    plan, rehearsal = history.plan(), rehearse(history.plan(), history.folder)
    PlainHistory(history.folder, history.url, [FIRST, HALF])  # the second revision now fails
    with pytest.raises(SlipwayError) as failed:
        migrate(plan, history.folder, rehearsal)
    assert failed.value.failed == (
        "The database is at revision 0001, but its schema differs from the rehearsed schema of that revision. It is between "
        "two revisions, or another session changed it."
    )
    assert not failed.value.retry_is_safe
    assert history.version() == "0001" and "size" in history.live.schema()


def test_a_live_schema_that_differs_from_the_rehearsed_one_is_refused(make: Make) -> None:
    """A live database whose schema changed after the rehearsal is not migrated."""
    history = make(INDEX)
    rehearsal = rehearse(history.plan(), history.folder)
    history.run("CREATE TABLE other (id int)")
    before = state(history)
    with pytest.raises(
        SlipwayError, match=r"^The database is at revision 0001, but its schema differs from the rehearsed schema"
    ):
        migrate(history.plan(), history.folder, rehearsal)
    assert state(history) == before


def test_a_tool_that_ignores_the_variable_is_refused(make: Make) -> None:
    """A tool that always connects to the live database is detected before it migrates."""
    history = make(INDEX)
    tool, live = history.folder / "migrate.py", history.live.connection_url()
    tool.write_text(tool.read_text().replace('os.environ["DATABASE_URL"]', repr(live)))
    before = state(history)
    with pytest.raises(SlipwayError) as refused:
        rehearse(history.plan(), history.folder)
    assert refused.value.failed == (
        "`python migrate.py current` reports revision 0001 for an empty database. The command ignores the variable "
        "DATABASE_URL and would change a database other than the copy. Nothing was changed."
    )
    assert state(history) == before


@pytest.mark.parametrize(
    ("upgrade", "message"),
    [
        (
            "CREATE TABLE there (id int)",
            "The schema of the live database {name} changed while its copy was migrated. The upgrade or another session "
            "changed it.",
        ),
        (
            "DELETE FROM a",
            "The migration tool reports revision 0002, but no row of the copy changed. It wrote to another database.",
        ),
    ],
)
def test_an_upgrade_of_another_database_is_detected(make: Make, upgrade: str, message: str) -> None:
    """A tool whose upgrade ignores the variable, but not its `current`, is detected after the first upgrade."""
    history = make((upgrade, ""))
    tool, live = history.folder / "migrate.py", history.live.connection_url()
    text = tool.read_text().replace(
        "engine = create_engine(", 'open("actions", "a").write(action + "\\n")\nengine = create_engine('
    )
    text = text.replace('os.environ["DATABASE_URL"]', f'{live!r} if action == "up" else os.environ["DATABASE_URL"]')
    text = text.replace(
        "if exists else 0", 'if exists else 0\n    current += action == "current" and "up" in open("actions").read()'
    )
    tool.write_text(text)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan(), history.folder)
    assert failed.value.failed == message.format(name=history.live.name)
    assert not failed.value.retry_is_safe


@only(["mariadb"])
def test_a_lock_timeout_on_mariadb_is_retried(make: Make) -> None:
    """Each attempt waits for the configured lock timeout, not for MariaDB's default of one day."""
    history = make(COLUMN)
    history.limits = {"tries": 2, "lock_timeout_s": 1}
    rehearsal = rehearse(history.plan(), history.folder)
    before = state(history)
    with create_engine(history.url, poolclass=NullPool).connect() as busy:
        busy.exec_driver_sql("SELECT count(*) FROM a")  # the open transaction holds a metadata lock
        with pytest.raises(SlipwayError) as failed:
            migrate(history.plan(), history.folder, rehearsal)
    assert failed.value.failed == (
        "`python migrate.py up 0002` exited with 1: sqlalchemy.exc.OperationalError: (pymysql.err.OperationalError) (1205, "
        "'Lock wait timeout exceeded; try restarting transaction'). The database is still at revision 0001. The "
        "migration could not get a lock in 2 attempts."
    )
    assert failed.value.retry_is_safe
    assert state(history) == before
    assert migrate(history.plan(), history.folder, rehearsal) is not None


@only(["mariadb"])
def test_a_mariadb_clone_that_is_the_live_database_is_refused(
    make: Make, mariadb: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone is refused if it is the live database or another database system."""
    history = make(COLUMN)
    plan = history.plan()
    assert plan.service.database is not None
    database = plan.service.database.model_copy(update={"clone": EnvironmentReference(env="CLONE_URL")})
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"database": database})})
    monkeypatch.setenv("CLONE_URL", history.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(SlipwayError) as failed:
        rehearse(plan, history.folder)
    name = make_url(history.url).database
    assert failed.value.failed == f"The clone {name} is the live database itself. Nothing was changed."
    monkeypatch.setenv("CLONE_URL", "postgresql+psycopg://u:p@127.0.0.1:9/x")
    with pytest.raises(InvalidInput) as refused:
        rehearse(plan, history.folder)
    assert refused.value.failed == "The clone of shop uses another database system than the live database."


@only(["sqlite"])
def test_a_locked_sqlite_file_is_retried(make: Make) -> None:
    """An attempt on a locked file is retried; the last error names the lock, and nothing is changed."""
    history = make(INDEX)
    history.limits = {"tries": 2}
    tool = history.folder / "migrate.py"
    tool.write_text(tool.read_text().replace("poolclass=NullPool", 'poolclass=NullPool, connect_args={"timeout": 0.1}'))
    rehearsal = rehearse(history.plan(), history.folder)
    before = state(history)
    with closing(sqlite3.connect(history.folder / "data" / "live.db", isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with pytest.raises(SlipwayError) as failed:
            migrate(history.plan(), history.folder, rehearsal)
    assert failed.value.failed == (
        "`python migrate.py up 0002` exited with 1: sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is "
        "locked. The database is still at revision 0001. The migration could not get a lock in 2 attempts."
    )
    assert failed.value.retry_is_safe
    assert state(history) == before


@only(["sqlite"])
def test_a_sqlite_clone_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone of a SQLite database is refused before anything is copied."""
    history = make(INDEX)
    monkeypatch.setenv("CLONE_URL", "sqlite:///clone.db")
    plan = history.plan()
    assert plan.service.database is not None
    database = plan.service.database.model_copy(update={"clone": EnvironmentReference(env="CLONE_URL")})
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"database": database})})
    with pytest.raises(InvalidInput) as refused:
        rehearse(plan, history.folder)
    assert refused.value.failed == "The database of shop is SQLite, which does not support a clone."


def test_the_alembic_preset_migrates_other_databases(make: Make, tmp_path: Path) -> None:
    """The preset rehearses, migrates and rolls back with the same URL as the plain commands."""
    plain = make()
    folder = tmp_path / "alembic"
    history = History(folder, "postgresql://nobody@127.0.0.1:9/nothing", [FIRST, COLUMN])
    history.limits = {"timeout_s": 600}
    plan, live = history.plan("0001", "0002"), plain.live
    assert plan.service.migrations is not None
    migrations = plan.service.migrations.model_copy(
        update={"bin": str(Path(sys.executable).parent)}
    )  # this environment has every driver
    (folder / "data").symlink_to(tmp_path / "data")  # the SQLite file's folder, relative to the service's directory
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"migrations": migrations})})
    before = live.schema(), live.contents()
    rehearsal = rehearse(plan, folder)
    assert (rehearsal.reversibility, rehearsal.rows) == ("lossless", 4)
    moved = migrate(plan, folder, rehearsal)
    assert moved is not None and moved.acted
    assert "size" in live.schema()
    assert roll_back(plan, folder, rehearsal).sentence == "the database moved from revision 0002 to 0001."
    assert (live.schema(), live.contents()) == before
