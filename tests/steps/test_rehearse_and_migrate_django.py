"""Rehearsing, migrating and going back with the real Django: one kind of change after another, each all its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway.errors import SlipwayError
from slipway.steps.look import where_it_stands
from slipway.steps.migrate import migrate
from slipway.steps.rehearse import rehearse
from slipway.steps.roll_back import roll_back
from tests.django_project import START, DjangoProject
from tests.histories import VARIABLE

TO = "orders.0002_change"
MIGRATE = "`python manage.py migrate orders 0001_initial --no-input`"
RAW = "migrations.RunPython(change_notes{})"
IRREVERSIBLE = (
    f"{MIGRATE} ended with 1: django.db.migrations.exceptions.IrreversibleError: Operation <RunPython "
    "<function change_notes at 0x?>> in orders.0002_change is not reversible. The database still stands at "
    "orders.0002_change."
)
COLUMN = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders_order' AND column_name = '{}'"
INDEX = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('order_note') AND indisvalid"
NOTES = "SELECT count(DISTINCT note) FROM orders_order"


@dataclass(frozen=True)
class Kind:
    """A kind of change: its operations, what its way back is worth, and what a query tells before, after, and back again."""

    operations: str
    worth: str
    losses: tuple[str, ...]
    query: str
    told: tuple[int, int, int]
    atomic: bool = True


KINDS = {
    "column added": Kind(
        'migrations.AddField("order", "size", models.IntegerField(default=3))',
        "lossless",
        (),
        COLUMN.format("size"),
        (0, 1, 0),
    ),
    "index added": Kind(
        'migrations.AddIndex("order", models.Index(fields=["note"], name="order_note"))',
        "lossless",
        (),
        INDEX,
        (0, 1, 0),
    ),
    "index added concurrently": Kind(
        'AddIndexConcurrently("order", models.Index(fields=["note"], name="order_note"))',
        "lossless",
        (),
        INDEX,
        (0, 1, 0),
        atomic=False,
    ),
    "rows changed, noop": Kind(
        RAW.format(", migrations.RunPython.noop"),
        "does nothing",
        ("public.orders_order.note: values differ, 100 in 100 rows",),
        NOTES,
        (100, 1, 1),
    ),
    "rows changed, no way back": Kind(RAW.format(""), "fails", (IRREVERSIBLE,), NOTES, (100, 1, 1)),
    "column removed": Kind(
        'migrations.RemoveField("order", "note")',
        "lossy",
        ("public.orders_order.note: 100 values before, 0 after",),
        COLUMN.format("note"),
        (1, 0, 1),
    ),
}

Make = Callable[..., DjangoProject]


@pytest.fixture
def make(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a project whose live database stands at the first migration, with rows, and which has a second one."""
    monkeypatch.setenv(VARIABLE, database)

    def build(operations: str, *, atomic: bool = True) -> DjangoProject:
        project = DjangoProject(tmp_path, database)
        project.add(TO, (START,), operations, atomic=atomic)
        project.stand_at(START)
        project.run("INSERT INTO orders_order (total, note) SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        return project

    return build


def without_address(text: str) -> str:
    """A loss as it is told, without the place of a function in the memory of its process."""
    before, _, after = text.partition(" at 0x")
    return f"{before} at 0x?>{after.partition('>')[2]}" if after else text


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_the_life_of_a_change(make: Make, kind: Kind) -> None:
    """What is true after it is applied, after a repeat, and after a roll back; the rehearsal has told it before."""
    project = make(kind.operations, atomic=kind.atomic)
    plan, schema = project.plan(START, TO), project.live.schema()
    rehearsal = rehearse(plan, project.folder)
    assert (rehearsal.reversibility, tuple(map(without_address, rehearsal.losses))) == (kind.worth, kind.losses)
    assert (project.live.schema(), project.applied()) == (schema, {"orders": 1})
    before, after, back = kind.told
    assert project.run(kind.query) == [(before,)]

    moved, again = (migrate(plan, project.folder, rehearsal) for _ in range(2))
    assert moved is not None and (moved.before, moved.after, moved.acted) == (START, TO, True)
    assert again is not None and (again.after, again.acted, len(again.commands)) == (TO, False, 1)
    assert project.run(kind.query) == [(after,)]

    if kind.worth == "fails":
        with pytest.raises(SlipwayError) as failed:
            roll_back(plan, project.folder, rehearsal)
        assert without_address(failed.value.failed) == IRREVERSIBLE
        assert where_it_stands(plan, project.folder) == (
            f"The database of shop stands at {TO}: after the change, which was not judged."
        )
    else:
        reverted = roll_back(plan, project.folder, rehearsal)
        assert reverted.sentence == f"the database went from {TO} to {START}."
        assert project.applied() == {"orders": 1}
    assert project.run(kind.query) == [(back,)]
    assert project.live.schema() == schema


def test_a_migration_that_breaks(make: Make) -> None:
    """It is told in the words of the database, from the copy, and nothing live is touched."""
    project = make('migrations.RunSQL("CREATE TABLE half (); SELECT 1 / 0", "DROP TABLE half")')
    schema = project.live.schema()
    with pytest.raises(SlipwayError) as failed:
        rehearse(project.plan(START, TO), project.folder)
    assert failed.value.failed == (
        "The upgrade failed on the copy of the live database: `python manage.py migrate orders 0002_change --no-input` "
        "ended with 1: django.db.utils.DataError: division by zero. The database still stands at orders.0001_initial. "
        "Nothing live was changed."
    )
    assert failed.value.retry_is_safe
    assert (project.live.schema(), project.applied()) == (schema, {"orders": 1})


def test_a_tool_that_does_not_keep_to_the_copy(make: Make) -> None:
    """Settings that name the live database whatever the variable says are found by any app that has a migration there."""
    project = make("")
    settings = project.folder / "settings.py"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(
        text.replace('os.environ["DATABASE_URL"]', repr(project.live.connection_url())), encoding="utf-8"
    )
    with pytest.raises(SlipwayError) as refused:
        rehearse(project.plan("customers.zero", "customers.0001_initial"), project.folder)
    assert refused.value.failed == (
        "`python manage.py showmigrations --plan --verbosity 2` sees revision orders.0001_initial in an empty database: it "
        "does not follow the variable DATABASE_URL, and would change another database than the copy. Nothing was changed."
    )


def test_a_first_migration(make: Make) -> None:
    """From zero and back to it is no loss, although Django's own table stays behind, and also where it is the first one."""
    project = make("")
    project.run("DROP TABLE orders_order, django_migrations")
    rehearsal = rehearse(project.plan("orders.zero", START), project.folder)
    assert (rehearsal.reversibility, rehearsal.losses) == ("lossless", ())
