"""The real Alembic over a history of some depth, and the life of each kind of change in it: real PostgreSQL."""

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
# What a query tells before a change of the kind, after it, and after its roll back; {} is the number of its revision.
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
    """A history of 59 revisions over an empty database."""
    monkeypatch.setenv(VARIABLE, database)
    return deep_history(tmp_path, database, forked_alembic)


def test_the_life_of_each_kind_of_change(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is true of each after it is applied, after a repeat, after a roll back, and after a repeat of that."""
    monkeypatch.setenv(VARIABLE, database)
    numbers = {kind: number for number, kind in enumerate(KINDS, start=2)}
    moves = [revision_of(kind, number) for kind, number in numbers.items()]
    history = History(tmp_path, database, [ORDERS, *moves])
    history.stand_at("0001")
    history.run(ROWS)

    def look() -> dict[str, int]:
        queries = {kind: query.replace("{}", f"{numbers[kind]}") for kind, (query, _) in LIVES.items()}
        return {kind: history.run(query)[0][0] for kind, query in queries.items()}

    before, after, back = ({kind: told[at] for kind, (_, told) in LIVES.items()} for at in range(3))
    plan = history.plan("0001", history.last)
    assert look() == before
    for acted in (True, False):
        migration = migrate(plan, tmp_path)
        assert migration is not None and migration.acted is acted
        assert (look(), history.version()) == (after, history.last)
    for acted in (True, False):
        reverted = roll_back(plan, tmp_path).migration
        assert reverted is not None and reverted.acted is acted
        assert (look(), history.version()) == (back, "0001")
    assert history.run("SELECT count(*) FROM orders") == [(100,)]


def test_a_way_back_over_59_revisions(deep: History) -> None:
    """Somewhere down there a downgrade fails over what an empty one has left; it is told where, and nothing live is touched."""
    rehearsal = rehearse(deep.plan("base", "0058"), deep.folder)
    assert rehearsal.reversibility == "fails"
    assert rehearsal.losses == (
        "`alembic downgrade base` ended with 1: sqlalchemy.exc.InternalError: "
        "(psycopg.errors.DependentObjectsStillExist) cannot drop table orders because other objects depend on it. "
        "The database was at 0058 and stands at 0001.",
    )
    assert "CREATE TABLE" not in deep.live.schema()


def test_branches_and_their_merge(deep: History) -> None:
    """From before two branches to their merge all comes back; from one of the branches the way back leaves the other one."""
    deep.stand_at("0056")
    deep.run(ROWS)
    assert rehearse(deep.plan("0056", "0058"), deep.folder).reversibility == "lossless"
    deep.run("ALTER TABLE orders ADD COLUMN a int; UPDATE alembic_version SET version_num = '0057a'")
    rehearsal = rehearse(deep.plan("0057a", "0058"), deep.folder)
    [loss] = rehearsal.losses
    assert rehearsal.reversibility == "fails"
    assert loss.startswith("`alembic downgrade 0057a` ended with 0: ")
    assert (
        "The database was at 0058 and stands at no revision that can be told: `alembic current` did not name one revision: "
        in loss
    )


def test_a_merge_that_breaks(deep: History) -> None:
    """Where an upgrade stops between two heads it is told why it stopped, and then that no revision can be told."""
    deep.stand_at("0056")
    deep.run("CREATE TABLE merged ()")
    with pytest.raises(SlipwayError) as failed:
        migrate(deep.plan("0056", "0058"), deep.folder)
    assert failed.value.failed.startswith(
        "`alembic upgrade 0058` ended with 1: sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateTable) relation "
        '"merged" already exists. The database was at 0056 and stands at no revision that can be told: `alembic current` '
        "did not name one revision: 0057"
    )
    assert not failed.value.retry_is_safe


def test_the_first_revision(deep: History) -> None:
    """A change from nothing is lossless, and its roll back may be repeated, with the tool's own table left behind."""
    plan, schema = deep.plan("base", "0001"), deep.live.schema()
    rehearsal = rehearse(plan, deep.folder)
    assert (rehearsal.reversibility, rehearsal.losses, rehearsal.rows) == ("lossless", (), 0)
    migrate(plan, deep.folder, rehearsal)
    assert deep.version() == "0001"
    sentences = [roll_back(plan, deep.folder, rehearsal).sentence for _ in range(2)]
    assert sentences == [
        "the database went from 0001 to base.",
        "nothing was left to do, the database already stands at base.",
    ]
    assert (deep.version(), deep.live.schema()) == ("", schema)
