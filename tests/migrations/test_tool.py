"""A service's migration tool: the real Alembic in its own environment."""

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
    """Return a history of two revisions, and an empty database."""
    return History(tmp_path, database, MOVES)


def command(*lines: str, code: int = 1) -> CommandRun:
    """Return a finished upgrade command."""
    return CommandRun(argv=("alembic", "upgrade", "0002"), seconds=1, exit_code=code, output="\n".join(lines))


def test_an_empty_database_is_at_base(history: History) -> None:
    """Before the first migration the tool prints nothing, which means base."""
    assert history.tool().current() == "base"


def test_the_current_revision(history: History) -> None:
    """The revision is returned without the tool's additions, and the command is recorded."""
    history.set_revision("0001")
    tool = history.tool()
    assert tool.current() == "0001"
    assert [(run.argv, run.exit_code) for run in tool.commands] == [(("alembic", "current"), 0)]
    history.run("UPDATE alembic_version SET version_num = '0002'")
    assert tool.current() == "0002"  # Alembic calls it "0002 (head)"


def test_two_heads_are_named(history: History) -> None:
    """A database at two heads is an error that names both heads."""
    history.add("0002b", "0001", MOVES[1])
    history.set_revision("0002", "0002b")
    with pytest.raises(SlipwayError) as failed:
        history.tool().current()
    assert failed.value.failed in (
        "`alembic current` did not print exactly one revision: 0002 (head) / 0002b (head)",
        "`alembic current` did not print exactly one revision: 0002b (head) / 0002 (head)",
    )
    assert (
        failed.value.expected
        == "The command prints one revision. Merge the heads of the history first if there are several."
    )
    assert failed.value.retry_is_safe


def test_an_unreadable_revision_is_described(history: History) -> None:
    """Two heads are described in the returned text; a failing command still raises an error."""
    history.add("0002b", "0001", MOVES[1])
    history.set_revision("0001")
    assert history.tool().describe_current("0002") == "0001"
    history.run("UPDATE alembic_version SET version_num = '0002'; INSERT INTO alembic_version VALUES ('0002b')")
    assert (
        history.tool()
        .describe_current("0002")
        .startswith("an unknown revision: `alembic current` did not print exactly one revision: 0002")
    )
    history.run("INSERT INTO alembic_version VALUES ('gone')")
    with pytest.raises(SlipwayError, match="`alembic current` exited with "):
        history.tool().describe_current("0002")


def test_the_error_of_an_unreachable_database_contains_no_password(history: History) -> None:
    """The error quotes the last line of the tool's output, without the password."""
    url = history.live.connection_url().replace(history.live.name, "nowhere")
    tool = MigrationTool(history.service(), url, history.folder)
    with pytest.raises(SlipwayError) as failed:
        tool.current()
    assert failed.value.failed.startswith("`alembic current` exited with 1: ")
    assert "server-secret" not in str(failed.value)
    assert failed.value.expected == "The migration tool prints the current revision."
    assert failed.value.retry_is_safe


def test_the_sql_of_a_migration(history: History) -> None:
    """The SQL is returned without log lines, and is not run."""
    history.set_revision("0001")
    sql = history.tool().sql("0001", "0002")
    assert "CREATE TABLE b (id int);" in sql.splitlines()
    assert "CREATE TABLE a" not in sql and "INFO" not in sql
    assert history.version() == "0001"
    assert "TABLE public.b" not in history.live.schema()


def test_the_sql_of_an_unknown_revision(history: History) -> None:
    """The error for an unknown revision quotes the tool."""
    with pytest.raises(InvalidInput) as refused:
        history.tool().sql("0001", "0009")
    assert refused.value.failed == (
        "The service's migration tool has no migration from 0001 to 0009: FAILED: Can't locate revision identified by '0009'."
    )
    assert refused.value.expected == "Both revisions are in the service's own history."


def test_upgrade_and_downgrade_stop_at_the_requested_revision(history: History) -> None:
    """Both commands stop at the revision in their argument."""
    tool = history.tool()
    assert tool.upgrade("0001").exit_code == 0
    assert history.version() == "0001"
    assert tool.downgrade("base").exit_code == 0
    assert history.version() == ""
    assert [run.argv[1:] for run in tool.commands] == [("upgrade", "0001"), ("downgrade", "base")]


def test_a_failing_upgrade_returns_its_command_run(history: History) -> None:
    """A failing upgrade raises nothing: the caller checks the exit code and the database."""
    run = history.tool().upgrade("0009")
    assert run.exit_code != 0
    assert run.output.endswith("FAILED: Can't locate revision identified by '0009'")


def test_a_service_without_migrations_is_refused(history: History) -> None:
    """The tool needs [service.migrations] in the service's entry."""
    bare = Service(name="shop", url="http://x", routes=("/",), database=Database(url=EnvironmentReference(env="X")))
    with pytest.raises(InvalidInput) as refused:
        MigrationTool(bare, history.live.connection_url(), history.folder)
    assert refused.value.failed == "Service shop has no [service.migrations]."


@pytest.mark.parametrize(
    ("reached", "position", "safe"),
    [
        ("0001", "The database is still at revision 0001.", True),
        ("0003", "The database was at revision 0001 and is now at 0003.", False),
    ],
)
def test_a_failed_migration_names_the_revision(reached: str, position: str, safe: bool) -> None:
    """The error names the revision; a retry is safe only if the revision did not change."""
    error = move_failed(command("Traceback", "  KeyError: 'x'", ""), start="0001", reached=reached)
    assert error.failed == f"`alembic upgrade 0002` exited with 1: KeyError: 'x'. {position}"
    assert error.expected == "The command exits with 0 at the requested revision."
    assert error.retry_is_safe is safe


def test_a_failed_migration_without_output() -> None:
    """The error says that the command printed nothing."""
    error = move_failed(command(code=0), start="0001", reached="0001")
    assert error.failed == (
        "`alembic upgrade 0002` exited with 0: the command printed nothing. The database is still at revision 0001."
    )
