"""Rehearsing on a copy, migrating the live database, and going back: real PostgreSQL, real Alembic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import SlipwayError
from slipway.outcomes import Rehearsal
from slipway.steps.migrate import migrate, migrate_back
from slipway.steps.rehearse import rehearse
from slipway.steps.roll_back import roll_back
from tests.histories import VARIABLE, History, Move, plan_of

FIRST: Move = ("CREATE TABLE a (id int PRIMARY KEY, note text)", "DROP TABLE a")
INDEX: Move = ("CREATE INDEX a_note ON a (note)", "DROP INDEX a_note")
BROKEN: Move = ("CREATE TABLE b (id int); SELECT 1 / 0", "DROP TABLE b")
STUCK: Move = ("CREATE TABLE b (id int)", "SELECT 1 / 0")
LOSSY: Move = ("ALTER TABLE a DROP COLUMN note", "ALTER TABLE a ADD COLUMN note varchar(40)")
ONE_WAY: Move = ("CREATE TABLE b (id int)", "")

Make = Callable[..., History]


@pytest.fixture
def make(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a history whose live database stands at its first revision, with rows."""
    monkeypatch.setenv(VARIABLE, database)

    def build(*moves: Move) -> History:
        history = History(tmp_path, database, [FIRST, *moves])
        history.stand_at("0001")
        history.run("INSERT INTO a SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        return history

    return build


def state(history: History) -> tuple[str, str, set[str]]:
    """What a rehearsal must not change: schema and version of the live database, and the server's databases."""
    return history.live.schema(), history.version(), history.databases()


def refusal(history: History, start: str = "0001", to: str = "0002") -> SlipwayError:
    """The error of a rehearsal, after which everything is as it was."""
    before = state(history)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan(start, to), history.folder)
    assert state(history) == before
    assert failed.value.retry_is_safe
    return failed.value


def test_rehearsing_a_change_that_can_be_taken_back(make: Make) -> None:
    """Upgrade and downgrade run on a copy, their times are kept, and live and server are as before."""
    history = make(INDEX)
    before = state(history)
    rehearsal = rehearse(history.plan("0001", "0002"), history.folder)
    assert rehearsal.reversibility == "lossless schema"
    assert [ran.argv for ran in rehearsal.commands] == [
        ("alembic", "upgrade", "0002"),
        ("alembic", "downgrade", "0001"),
    ]
    assert rehearsal.copy_bytes > 1_000_000
    assert min(rehearsal.copy_seconds, rehearsal.upgrade_seconds, rehearsal.downgrade_seconds) > 0
    assert state(history) == before


def test_rehearsing_an_upgrade_that_breaks_half_way(make: Make) -> None:
    """An upgrade that fails on the copy is told with where it left the copy, and that nothing live was touched."""
    error = refusal(make(BROKEN))
    assert error.failed == (
        "The upgrade failed on the copy of the live database: `alembic upgrade 0002` ended with 1: "
        "sqlalchemy.exc.DataError: (psycopg.errors.DivisionByZero) division by zero. "
        "The database still stands at 0001. Nothing live was changed."
    )
    assert error.expected == "It to end with 0 at the wanted revision."


def test_rehearsing_a_downgrade_that_fails(make: Make) -> None:
    """A downgrade that fails on the copy is told, before it would be needed."""
    error = refusal(make(STUCK))
    assert error.failed.startswith(
        "The downgrade failed on the copy of the live database: `alembic downgrade 0001` ended with 1: "
    )
    assert error.failed.endswith(" The database still stands at 0002. Nothing live was changed.")


def test_rehearsing_a_downgrade_that_does_not_restore(make: Make) -> None:
    """A downgrade after which the schema is another one is refused with the differences."""
    error = refusal(make(LOSSY))
    assert error.failed == (
        "The downgrade of faster does not bring the schema back on the copy. Differences: "
        "-    note text | +    note character varying(40) Nothing live was changed."
    )
    assert error.expected == "A downgrade after which the schema is as it was before the upgrade."


def test_rehearsing_a_downgrade_that_does_nothing(make: Make) -> None:
    """An empty downgrade is named as what it is."""
    error = refusal(make(ONE_WAY))
    assert error.failed.startswith(
        "The downgrade of faster does not bring the schema back on the copy. The downgrade does nothing. "
        "Differences: +CREATE TABLE public.b ( | +    id integer | +);"
    )


def test_there_and_back(make: Make) -> None:
    """The live database is moved and goes back to the schema and rows it had; a repeat of either does nothing."""
    history = make(INDEX)
    plan, before = history.plan("0001", "0002"), state(history)

    moved, again = migrate(plan, history.folder), migrate(plan, history.folder)
    assert moved is not None and (moved.before, moved.after, moved.acted) == ("0001", "0002", True)
    assert [ran.argv[1:] for ran in moved.commands] == [("current",), ("upgrade", "0002"), ("current",)]
    assert again is not None and (again.before, again.after, again.acted) == ("0002", "0002", False)
    assert [ran.argv[1:] for ran in again.commands] == [("current",)]
    assert history.version() == "0002" and "CREATE INDEX a_note" in history.live.schema()

    back, again_back = roll_back(plan, history.folder), roll_back(plan, history.folder)
    assert back.sentence == "the database went from 0002 to 0001."
    assert back.migration is not None and back.migration.acted
    assert again_back.sentence == "nothing was left to do, the database already stands at 0001."
    assert again_back.migration is not None and not again_back.migration.acted
    assert state(history) == before
    assert history.run("SELECT count(*) FROM a") == [(100,)]


def test_migrating_from_somewhere_else_is_refused(make: Make) -> None:
    """A database that stands at neither end is left alone, and both ends are named."""
    history = make(INDEX, LOSSY)
    before = state(history)
    for move in (migrate, migrate_back):
        with pytest.raises(SlipwayError) as failed:
            move(history.plan("0002", "0003"), history.folder)
        assert failed.value.retry_is_safe
        assert state(history) == before
    assert failed.value.failed == "The database of shop is at 0001; faster moves it from 0003 to 0002."
    assert failed.value.expected == "A database at 0003 (or already at 0002)."


def test_a_live_migration_that_fails(make: Make) -> None:
    """A live upgrade that fails says that the database still stands where it was, so that a retry is safe."""
    history = make(BROKEN)
    before = state(history)
    with pytest.raises(SlipwayError) as failed:
        migrate(history.plan("0001", "0002"), history.folder)
    assert failed.value.failed.startswith("`alembic upgrade 0002` ended with 1: ")
    assert failed.value.failed.endswith(" The database still stands at 0001.")
    assert failed.value.expected == "It to end with 0 at the wanted revision."
    assert failed.value.retry_is_safe
    assert state(history) == before


def test_a_live_migration_that_stops_between(make: Make) -> None:
    """A live upgrade that stops between its ends says where, and that a person has to look before a retry."""
    history = make(INDEX, BROKEN)
    with pytest.raises(SlipwayError) as failed:
        migrate(history.plan("0001", "0003"), history.folder)
    assert failed.value.failed.endswith(" The database was at 0001 and stands at 0002.")
    assert not failed.value.retry_is_safe
    assert history.version() == "0002"


def test_without_a_migration_nothing_is_done(make: Make) -> None:
    """A change without a migration rehearses, migrates and goes back without a look at the database."""
    history = make()
    plan = plan_of(history.service())
    assert rehearse(plan, history.folder) == Rehearsal(reversibility="nothing to migrate")
    assert migrate(plan, history.folder) is None
    assert roll_back(plan, history.folder).sentence == "nothing was left to do, the change has no migration."
