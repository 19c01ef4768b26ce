"""Rehearsing, migrating and going back on databases that are not PostgreSQL: real ones, by a tool of plain commands."""

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
DOWN = "`python migrate.py down 0001` ended with 1: sqlalchemy.exc.OperationalError: "
NO_TABLE = {
    "sqlite": [f"{DOWN}(sqlite3.OperationalError) no such table: c. The database still stands at 0002."],
    "mysql": [
        f"{DOWN}(pymysql.err.OperationalError) (1051, \"Unknown table 'slipway_copy_shop.c'\"). The database still stands at "
        "0002."
    ],
}

Make = Callable[..., PlainHistory]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder under which copies are made; nothing is left in it."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once a process
    yield made
    assert list(made.iterdir()) == []


@pytest.fixture(params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path, temporary: Path) -> Iterator[str]:
    """The URL of an empty database of the test's own; no copy is left beside it."""
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
    """Make a history whose live database stands at its first revision, with rows."""
    monkeypatch.setenv(VARIABLE, url)

    def build(*moves: Move) -> PlainHistory:
        history = PlainHistory(tmp_path, url, [FIRST, *(fitting(url, move) for move in moves)], forked_python)
        history.stand_at_first(ROWS)
        return history

    return build


def fitting(url: str, move: Move) -> Move:
    """A move in the words of the database: only MariaDB wants to know the table of an index."""
    return (move[0], move[1].replace("DROP INDEX a_note", "DROP INDEX a_note ON a") if "mysql" in url else move[1])


def state(history: PlainHistory) -> tuple[object, ...]:
    """What a rehearsal must not change."""
    return history.live.schema(), history.live.contents(), history.version()


def test_rehearsing_a_change_that_can_be_taken_back(make: Make) -> None:
    """Up, down and up run on a copy; what was not looked at is told, each with its reason; live is as before."""
    history = make(INDEX)
    before = state(history)
    rehearsal = rehearse(history.plan(), history.folder)
    assert (rehearsal.reversibility, rehearsal.losses, rehearsal.rows) == ("lossless", (), 4)
    assert [ran.argv[2:] for ran in rehearsal.commands] == [("up", "0002"), ("down", "0001"), ("up", "0002")]
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
    ("move", "worth", "losses"),
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
def test_what_a_way_back_is_worth(make: Make, move: Move, worth: str, losses: list[str] | dict[str, list[str]]) -> None:
    """The way back is judged by schema and rows, and what it does not bring back is named; nothing live is touched."""
    history = make(move)
    before = state(history)
    rehearsal = rehearse(history.plan(), history.folder)
    told = [line.replace(history.live.name, "live") for line in rehearsal.losses]
    kind = history.url.partition("+")[0].partition(":")[0]
    assert (rehearsal.reversibility, told) == (worth, losses[kind] if isinstance(losses, dict) else losses)
    warned = [] if worth == "lossless" else [f"way-back-{worth.replace(' ', '-')}"]
    assert [finding.code for finding in rehearsal.findings if finding.level == "warning"] == warned
    assert state(history) == before


def test_an_upgrade_that_breaks_half_way(make: Make) -> None:
    """An upgrade that fails on the copy is told with where it left the copy; live is as before."""
    history = make(HALF)
    before = state(history)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan(), history.folder)
    why = "(sqlite3.OperationalError) no such column: nowhere."
    if "mysql" in history.url:
        why = "(pymysql.err.OperationalError) (1054, \"Unknown column 'nowhere' in 'SELECT'\")."
    assert failed.value.failed == (
        "The upgrade failed on the copy of the live database: `python migrate.py up 0002` ended with 1: "
        f"sqlalchemy.exc.OperationalError: {why} The database still stands at 0001. Nothing live was changed."
    )
    assert failed.value.retry_is_safe
    assert state(history) == before


def test_there_and_back(make: Make) -> None:
    """After apply, after repeat, after roll back and its repeat: the database is where it should be, and no command is lost."""
    history = make(INDEX)
    history.bin_folder = BIN  # Python itself, not in a fork
    plan, before = history.plan(), state(history)
    rehearsal = rehearse(plan, history.folder)

    moved, again = (migrate(plan, history.folder, rehearsal) for _ in range(2))
    assert moved is not None and (moved.before, moved.after, moved.acted) == ("0001", "0002", True)
    assert [ran.argv[2:] for ran in moved.commands] == [("current",), ("up", "0002"), ("current",)]
    assert again is not None and (again.before, again.after, again.acted) == ("0002", "0002", False)
    assert history.version() == "0002" and "a_note" in history.live.schema()

    back, again_back = (roll_back(plan, history.folder, rehearsal) for _ in range(2))
    assert back.sentence == "the database went from 0002 to 0001."
    assert again_back.sentence == "nothing was left to do, the database already stands at 0001."
    assert state(history) == before


def test_a_live_migration_that_stops_half_way(make: Make) -> None:
    """What commits statement by statement and breaks stands between two revisions, and a person has to look."""
    history = make(COLUMN)
    plan, rehearsal = history.plan(), rehearse(history.plan(), history.folder)
    PlainHistory(history.folder, history.url, [FIRST, HALF])  # the tool that now breaks
    with pytest.raises(SlipwayError) as failed:
        migrate(plan, history.folder, rehearsal)
    assert failed.value.failed == (
        "The database says 0001, but its schema is not the one that was rehearsed to be there: it stands between two "
        "revisions, or somebody else has changed it."
    )
    assert not failed.value.retry_is_safe
    assert history.version() == "0001" and "size" in history.live.schema()


def test_a_schema_that_somebody_changed(make: Make) -> None:
    """A live database whose schema is not the rehearsed one is left alone."""
    history = make(INDEX)
    rehearsal = rehearse(history.plan(), history.folder)
    history.run("CREATE TABLE other (id int)")
    before = state(history)
    with pytest.raises(
        SlipwayError, match=r"^The database says 0001, but its schema is not the one that was rehearsed"
    ):
        migrate(history.plan(), history.folder, rehearsal)
    assert state(history) == before


def test_a_tool_that_does_not_keep_to_the_copy(make: Make) -> None:
    """A tool that connects to the live database whatever the variable says is found before it migrates."""
    history = make(INDEX)
    tool, live = history.folder / "migrate.py", history.live.connection_url()
    tool.write_text(tool.read_text().replace('os.environ["DATABASE_URL"]', repr(live)))
    before = state(history)
    with pytest.raises(SlipwayError) as refused:
        rehearse(history.plan(), history.folder)
    assert refused.value.failed == (
        "`python migrate.py current` sees revision 0001 in an empty database: it does not follow the variable "
        "DATABASE_URL, and would change another database than the copy. Nothing was changed."
    )
    assert state(history) == before


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "CREATE TABLE there (id int)",
            "The schema of the live database {name} changed while its copy was migrated: the upgrade reached it, or somebody "
            "else changed it.",
        ),
        (
            "DELETE FROM a",
            "The tool says that the copy went to 0002, but not a row of the copy changed: it wrote somewhere else.",
        ),
    ],
)
def test_an_upgrade_that_writes_somewhere_else(make: Make, written: str, told: str) -> None:
    """A tool whose `current` follows the variable and whose upgrade does not is found after its first upgrade."""
    history = make((written, ""))
    tool, live = history.folder / "migrate.py", history.live.connection_url()
    text = tool.read_text().replace(
        "engine = create_engine(", 'open("said", "a").write(word + "\\n")\nengine = create_engine('
    )
    text = text.replace('os.environ["DATABASE_URL"]', f'{live!r} if word == "up" else os.environ["DATABASE_URL"]')
    text = text.replace(
        "if known else 0", 'if known else 0\n    current += word == "current" and "up" in open("said").read()'
    )
    tool.write_text(text)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan(), history.folder)
    assert failed.value.failed == told.format(name=history.live.name)
    assert not failed.value.retry_is_safe


@only(["mariadb"])
def test_a_busy_mariadb(make: Make) -> None:
    """Each try waits for a table's lock as long as it may, not for the server's day; then it says so."""
    history = make(COLUMN)
    history.limits = {"tries": 2, "lock_timeout_s": 1}
    rehearsal = rehearse(history.plan(), history.folder)
    before = state(history)
    with create_engine(history.url, poolclass=NullPool).connect() as busy:
        busy.exec_driver_sql("SELECT count(*) FROM a")  # in a transaction, which keeps the table as it is
        with pytest.raises(SlipwayError) as failed:
            migrate(history.plan(), history.folder, rehearsal)
    assert failed.value.failed == (
        "`python migrate.py up 0002` ended with 1: sqlalchemy.exc.OperationalError: (pymysql.err.OperationalError) (1205, "
        "'Lock wait timeout exceeded; try restarting transaction'). The database still stands at 0001. It got no lock in 2 "
        "tries."
    )
    assert failed.value.retry_is_safe
    assert state(history) == before
    assert migrate(history.plan(), history.folder, rehearsal) is not None


@only(["mariadb"])
def test_a_clone_of_a_mariadb(make: Make, mariadb: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that the owner keeps is used, and refused where it is the live database or another kind."""
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
    assert refused.value.failed == "The clone of shop is another kind of database than the live one."


@only(["sqlite"])
def test_a_busy_sqlite(make: Make) -> None:
    """A try that finds the file locked is made again, and the last says so; nothing is changed meanwhile."""
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
        "`python migrate.py up 0002` ended with 1: sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is "
        "locked. The database still stands at 0001. It got no lock in 2 tries."
    )
    assert failed.value.retry_is_safe
    assert state(history) == before


@only(["sqlite"])
def test_a_sqlite_has_no_clone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone is refused before anything is copied."""
    history = make(INDEX)
    monkeypatch.setenv("CLONE_URL", "sqlite:///clone.db")
    plan = history.plan()
    assert plan.service.database is not None
    database = plan.service.database.model_copy(update={"clone": EnvironmentReference(env="CLONE_URL")})
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"database": database})})
    with pytest.raises(InvalidInput) as refused:
        rehearse(plan, history.folder)
    assert refused.value.failed == "The database of shop is SQLite, which has no clone."


def test_the_real_alembic(make: Make, tmp_path: Path) -> None:
    """The preset, with the same URL as the plain commands: rehearsed, moved, and moved back."""
    plain = make()
    folder = tmp_path / "alembic"
    history = History(folder, "postgresql://nobody@127.0.0.1:9/nothing", [FIRST, COLUMN])
    history.limits = {"timeout_s": 600}
    plan, live = history.plan("0001", "0002"), plain.live
    assert plan.service.migrations is not None
    ours = plan.service.migrations.model_copy(update={"bin": str(Path(sys.executable).parent)})  # it has every driver
    (folder / "data").symlink_to(tmp_path / "data")  # where the SQLite file lies, seen from the service's directory
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"migrations": ours})})
    before = live.schema(), live.contents()
    rehearsal = rehearse(plan, folder)
    assert (rehearsal.reversibility, rehearsal.rows) == ("lossless", 4)
    moved = migrate(plan, folder, rehearsal)
    assert moved is not None and moved.acted
    assert "size" in live.schema()
    assert roll_back(plan, folder, rehearsal).sentence == "the database went from 0002 to 0001."
    assert (live.schema(), live.contents()) == before
