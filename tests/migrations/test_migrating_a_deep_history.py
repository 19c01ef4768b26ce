"""The real Alembic with a deep history, and each kind of change in it, on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core.errors import SlipwayError
from slipway.migrations.migrate import migrate
from slipway.migrations.rehearse import rehearse
from slipway.migrations.roll_back import roll_back
from tests.histories import KINDS, ORDERS, VARIABLE, History, deep_history, revision_of

ROWS = "INSERT INTO orders SELECT n, n, 'note ' || n FROM generate_series(1, 100) AS n"
COLUMN = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'c{}'"
INDEX = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('i{}') AND indisvalid"
# The result of a query before a change of the kind, after it, and after its rollback; {} is its revision's number.
LIVES = {
    "column": (COLUMN, (0, 1, 0)),
    "empty downgrade": ("SELECT count(*) FROM pg_class WHERE oid = to_regclass('t{}')", (0, 1, 1)),
    "index": (INDEX, (0, 1, 0)),
    "concurrent index": (INDEX, (0, 1, 0)),
    "rows": ("SELECT sum(total)::int FROM orders", (5050, 5050 + 600, 5050)),
    "autocommit": (f"SELECT ({COLUMN}) + ({INDEX})", (0, 2, 0)),
    "lossy": ("SELECT count(DISTINCT note) FROM orders", (100, 1, 0)),
}


@pytest.fixture
def deep(tmp_path: Path, database: str, forked_alembic: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return a history of 59 revisions and an empty database."""
    monkeypatch.setenv(VARIABLE, database)
    return deep_history(tmp_path, database, forked_alembic)


def test_each_kind_of_change_is_migrated_and_rolled_back(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queries have the expected results after the migration, after the rollback, and after repeats of both."""
    monkeypatch.setenv(VARIABLE, database)
    numbers = {kind: number for number, kind in enumerate(KINDS, start=2)}
    moves = [revision_of(kind, number) for kind, number in numbers.items()]
    history = History(tmp_path, database, [ORDERS, *moves])
    history.set_revision("0001")
    history.run(ROWS)

    def results() -> dict[str, int]:
        queries = {kind: query.replace("{}", f"{numbers[kind]}") for kind, (query, _) in LIVES.items()}
        return {kind: history.run(query)[0][0] for kind, query in queries.items()}

    before, after, back = ({kind: values[at] for kind, (_, values) in LIVES.items()} for at in range(3))
    plan = history.plan("0001", history.last)
    assert results() == before
    for acted in (True, False):
        migration = migrate(plan, tmp_path)
        assert migration is not None and migration.acted is acted
        assert (results(), history.version()) == (after, history.last)
    for acted in (True, False):
        reverted = roll_back(plan, tmp_path).migration
        assert reverted is not None and reverted.acted is acted
        assert (results(), history.version()) == (back, "0001")
    assert history.run("SELECT count(*) FROM orders") == [(100,)]


def test_a_downgrade_over_59_revisions_names_the_failing_revision(deep: History) -> None:
    """A downgrade fails over the objects of an empty downgrade; the loss names the revision, and nothing live changes."""
    rehearsal = rehearse(deep.plan("base", "0058"), deep.folder)
    assert rehearsal.reversibility == "fails"
    assert rehearsal.losses == (
        "`alembic downgrade base` exited with 1: sqlalchemy.exc.InternalError: "
        "(psycopg.errors.DependentObjectsStillExist) cannot drop table orders because other objects depend on it. "
        "The database was at revision 0058 and is now at 0001.",
    )
    assert "CREATE TABLE" not in deep.live.schema()


def test_a_downgrade_from_a_merge_to_one_branch_fails(deep: History) -> None:
    """A downgrade to before both branches is lossless; a downgrade to one branch leaves the other one applied."""
    deep.set_revision("0056")
    deep.run(ROWS)
    assert rehearse(deep.plan("0056", "0058"), deep.folder).reversibility == "lossless"
    deep.run("ALTER TABLE orders ADD COLUMN a int; UPDATE alembic_version SET version_num = '0057a'")
    rehearsal = rehearse(deep.plan("0057a", "0058"), deep.folder)
    [loss] = rehearsal.losses
    assert rehearsal.reversibility == "fails"
    assert loss.startswith("`alembic downgrade 0057a` exited with 0: ")
    assert (
        "The database was at revision 0058 and is now at an unknown revision: `alembic current` did not print exactly one "
        "revision: " in loss
    )


def test_an_upgrade_that_stops_at_two_heads_reports_an_unknown_revision(deep: History) -> None:
    """The error quotes the exception, and says that the revision is unknown."""
    deep.set_revision("0056")
    deep.run("CREATE TABLE merged ()")
    with pytest.raises(SlipwayError) as failed:
        migrate(deep.plan("0056", "0058"), deep.folder)
    assert failed.value.failed.startswith(
        "`alembic upgrade 0058` exited with 1: sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateTable) relation "
        '"merged" already exists. The database was at revision 0056 and is now at an unknown revision: `alembic '
        "current` did not print exactly one revision: 0057"
    )
    assert not failed.value.retry_is_safe


def test_the_first_revision_is_lossless(deep: History) -> None:
    """The rollback of the first revision can be repeated, and keeps the tool's own table."""
    plan, schema = deep.plan("base", "0001"), deep.live.schema()
    rehearsal = rehearse(plan, deep.folder)
    assert (rehearsal.reversibility, rehearsal.losses, rehearsal.rows) == ("lossless", (), 0)
    migrate(plan, deep.folder, rehearsal)
    assert deep.version() == "0001"
    sentences = [roll_back(plan, deep.folder, rehearsal).sentence for _ in range(2)]
    assert sentences == [
        "the database moved from revision 0001 to base.",
        "no action was needed: the database is already at revision base.",
    ]
    assert (deep.version(), deep.live.schema()) == ("", schema)
