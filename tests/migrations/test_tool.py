"""A service's migration tool, here the real Alembic in an environment of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.config.service import Database, Service
from slipway.core.commands import CommandRun
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import EnvironmentReference
from slipway.migrations.tool import MigrationTool, move_failed
from tests.histories import History, Move

MOVES: list[Move] = [
    ("CREATE TABLE a (id int)", "DROP TABLE a"),
    ("CREATE TABLE b (id int)", "DROP TABLE b"),
]


@pytest.fixture
def history(tmp_path: Path, database: str) -> History:
    """Two revisions and an empty database."""
    return History(tmp_path, database, MOVES)


def ended(*lines: str, code: int = 1) -> CommandRun:
    """A command as it was run."""
    return CommandRun(argv=("alembic", "upgrade", "0002"), seconds=1, exit_code=code, output="\n".join(lines))


def test_an_empty_database_stands_at_the_base(history: History) -> None:
    """Before the first migration the tool says nothing, which is called base."""
    assert history.tool().current() == "base"


def test_the_current_revision(history: History) -> None:
    """The revision is told without what the tool adds to it, and looking is written down with its time."""
    history.stand_at("0001")
    tool = history.tool()
    assert tool.current() == "0001"
    assert [(ran.argv, ran.exit_code) for ran in tool.ran] == [(("alembic", "current"), 0)]
    history.run("UPDATE alembic_version SET version_num = '0002'")
    assert tool.current() == "0002"  # Alembic calls it "0002 (head)"


def test_two_heads_are_named(history: History) -> None:
    """A database at two heads is an error that names both."""
    history.add("0002b", "0001", MOVES[1])
    history.stand_at("0002", "0002b")
    with pytest.raises(SlipwayError) as failed:
        history.tool().current()
    assert failed.value.failed in (
        "`alembic current` did not name one revision: 0002 (head) / 0002b (head)",
        "`alembic current` did not name one revision: 0002b (head) / 0002 (head)",
    )
    assert failed.value.expected == "One revision; a history with several heads has to be merged first."
    assert failed.value.retry_is_safe


def test_where_a_move_has_left_it(history: History) -> None:
    """As the current revision; two heads are told in words, and a tool that does not answer is an error all the same."""
    history.add("0002b", "0001", MOVES[1])
    history.stand_at("0001")
    assert history.tool().reached("0002") == "0001"
    history.run("UPDATE alembic_version SET version_num = '0002'; INSERT INTO alembic_version VALUES ('0002b')")
    assert (
        history.tool()
        .reached("0002")
        .startswith("no revision that can be told: `alembic current` did not name one revision: 0002")
    )
    history.run("INSERT INTO alembic_version VALUES ('gone')")
    with pytest.raises(SlipwayError, match="`alembic current` ended with "):
        history.tool().reached("0002")


def test_a_database_that_is_away(history: History) -> None:
    """Where the revision cannot be told, the tool's own last words are, without the password."""
    url = history.live.connection_url().replace(history.live.name, "nowhere")
    tool = MigrationTool(history.service(), url, history.folder)
    with pytest.raises(SlipwayError) as failed:
        tool.current()
    assert failed.value.failed.startswith("`alembic current` ended with 1: ")
    assert "server-secret" not in str(failed.value)
    assert failed.value.expected == "The tool to tell the current revision."
    assert failed.value.retry_is_safe


def test_the_sql_of_a_move(history: History) -> None:
    """The SQL is printed without log lines, and nothing is run."""
    history.stand_at("0001")
    sql = history.tool().sql("0001", "0002")
    assert "CREATE TABLE b (id int);" in sql.splitlines()
    assert "CREATE TABLE a" not in sql and "INFO" not in sql
    assert history.version() == "0001"
    assert "TABLE public.b" not in history.live.schema()


def test_the_sql_of_an_unknown_revision(history: History) -> None:
    """A revision that the history does not have is refused in the tool's own words."""
    with pytest.raises(InvalidInput) as refused:
        history.tool().sql("0001", "0009")
    assert refused.value.failed == (
        "The service's tool knows no migration from 0001 to 0009: FAILED: Can't locate revision identified by '0009'."
    )
    assert refused.value.expected == "Two revisions of the service's own history."


def test_up_and_down(history: History) -> None:
    """Upgrade and downgrade go to the revision that is named and no further."""
    tool = history.tool()
    assert tool.upgrade("0001").exit_code == 0
    assert history.version() == "0001"
    assert tool.downgrade("base").exit_code == 0
    assert history.version() == ""
    assert [ran.argv[1:] for ran in tool.ran] == [("upgrade", "0001"), ("downgrade", "base")]


def test_a_failing_move_is_an_answer(history: History) -> None:
    """An upgrade that fails raises nothing by itself: the caller looks at the code and at the database."""
    ran = history.tool().upgrade("0009")
    assert ran.exit_code != 0
    assert ran.output.endswith("FAILED: Can't locate revision identified by '0009'")


def test_a_service_that_does_not_migrate(history: History) -> None:
    """Without migrations in its entry there is no tool."""
    bare = Service(name="shop", url="http://x", routes=("/",), database=Database(url=EnvironmentReference(env="X")))
    with pytest.raises(InvalidInput) as refused:
        MigrationTool(bare, history.live.connection_url(), history.folder)
    assert refused.value.failed == "Service shop has no [service.migrations]."


@pytest.mark.parametrize(
    ("stands", "place", "safe"),
    [
        ("0001", "The database still stands at 0001.", True),
        ("0003", "The database was at 0001 and stands at 0003.", False),
    ],
)
def test_a_move_that_failed(stands: str, place: str, safe: bool) -> None:
    """The error says where the database stands; a retry is safe only where it still is where it was."""
    error = move_failed(ended("Traceback", "  KeyError: 'x'", ""), was="0001", stands=stands)
    assert error.failed == f"`alembic upgrade 0002` ended with 1: KeyError: 'x'. {place}"
    assert error.expected == "It to end with 0 at the wanted revision."
    assert error.retry_is_safe is safe


def test_a_move_that_failed_silently() -> None:
    """A command without a word is told as that."""
    error = move_failed(ended(code=0), was="0001", stands="0001")
    assert error.failed == (
        "`alembic upgrade 0002` ended with 0: it printed nothing. The database still stands at 0001."
    )
