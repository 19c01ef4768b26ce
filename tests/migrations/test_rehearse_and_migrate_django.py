"""Rehearsing, migrating and going back with the real Django: one kind of change after another, each all its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from slipway.core.errors import SlipwayError
from slipway.migrations.current_revision import where_it_stands
from slipway.migrations.migrate import migrate
from slipway.migrations.rehearse import rehearse
from slipway.migrations.roll_back import roll_back
from tests.django_project import BIN, START, DjangoProject
from tests.histories import VARIABLE

TO = "orders.0002_change"
COLUMN = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders_order' AND column_name = '{}'"
INDEX = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('{}') AND indisvalid"
NOTES = "SELECT count(DISTINCT note) FROM orders_order"
ROWS = "migrations.RunPython(change_notes, migrations.RunPython.noop)"
NO_WAY_BACK = "migrations.RunPython(change_notes)"
IRREVERSIBLE = (
    "`python manage.py migrate orders 0001_initial --no-input` ended with 1: "
    "django.db.migrations.exceptions.IrreversibleError: Operation <RunPython <function change_notes at 0x?>> in "
    f"{TO} is not reversible. The database still stands at {TO}."
)


@dataclass(frozen=True)
class Kind:
    """A kind of change: its operation, and what a query tells before it, after it, and after its roll back."""

    operation: str
    query: str
    told: tuple[int, int, int]
    atomic: bool = True


LOSSLESS = (
    Kind('migrations.AddField("order", "size", models.IntegerField(default=3))', COLUMN.format("size"), (0, 1, 0)),
    Kind(
        'migrations.AddIndex("order", models.Index(fields=["note"], name="by_note"))',
        INDEX.format("by_note"),
        (0, 1, 0),
    ),
    Kind(
        'AddIndexConcurrently("order", models.Index(fields=["size"], name="by_size"))',
        INDEX.format("by_size"),
        (0, 1, 0),
        atomic=False,
    ),
)
LOSSY = (
    Kind(
        'migrations.RunSQL("UPDATE orders_order SET total = 7", "")',
        "SELECT sum(total) FROM orders_order",
        (5050, 700, 700),
    ),
    Kind('migrations.RemoveField("order", "note")', COLUMN.format("note"), (1, 0, 1)),
)

Make = Callable[..., DjangoProject]


@pytest.fixture
def make(tmp_path: Path, database: str, forked_django: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a project whose live database stands at the first migration, with rows, and which has a second one."""
    monkeypatch.setenv(VARIABLE, database)

    def build(*kinds: Kind) -> DjangoProject:
        project, last = DjangoProject(tmp_path, database, forked_django), START
        for number, kind in enumerate(kinds, start=2):
            last = project.add(f"orders.{number:04}_change", (last,), kind.operation, atomic=kind.atomic)
        project.stand_at(START)
        project.run("INSERT INTO orders_order (total, note) SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        return project

    return build


def without_address(text: str) -> str:
    """A loss as it is told, without the place of a function in the memory of its process."""
    before, _, after = text.partition(" at 0x")
    return f"{before} at 0x?>{after.partition('>')[2]}" if after else text


@pytest.mark.parametrize(
    ("kinds", "worth", "losses"),
    [
        pytest.param(LOSSLESS, "lossless", (), id="column, index, concurrent index"),
        pytest.param(
            LOSSY,
            "lossy",
            (
                "public.orders_order.note: 100 values before, 0 after",
                "public.orders_order.total: values differ, 100 in 100 rows",
            ),
            id="rows changed, column removed",
        ),
    ],
)
def test_the_life_of_a_change(make: Make, kinds: tuple[Kind, ...], worth: str, losses: tuple[str, ...]) -> None:
    """What is true of each after it is applied, after a repeat, and after a roll back; the rehearsal has told it before."""
    project, to = make(*kinds), f"orders.{len(kinds) + 1:04}_change"
    plan, schema = project.plan(START, to), project.live.schema()
    rehearsal = rehearse(plan, project.folder)
    assert (rehearsal.reversibility, tuple(sorted(rehearsal.losses))) == (worth, losses)
    assert (project.live.schema(), project.applied()) == (schema, {"orders": 1})

    def look() -> tuple[int, ...]:
        return tuple(project.run(kind.query)[0][0] for kind in kinds)

    before, after, back = (tuple(kind.told[at] for kind in kinds) for at in range(3))
    assert look() == before
    for acted, commands in ((True, 3), (False, 1)):
        migration = migrate(plan, project.folder, rehearsal)
        assert migration is not None and (migration.acted, len(migration.commands)) == (acted, commands)
        assert (look(), project.applied()) == (after, {"orders": len(kinds) + 1})
    assert roll_back(plan, project.folder, rehearsal).sentence == f"the database went from {to} to {START}."
    assert (look(), project.applied(), project.live.schema()) == (back, {"orders": 1}, schema)


def test_rows_changed_by_python_with_a_noop_behind(make: Make) -> None:
    """Django takes it back without a word and without a change, and that is what is told."""
    project = make(Kind(ROWS, NOTES, (100, 1, 1)))
    rehearsal = rehearse(project.plan(START, TO), project.folder)
    assert rehearsal.reversibility == "does nothing"
    assert rehearsal.losses == ("public.orders_order.note: values differ, 100 in 100 rows",)


def test_rows_changed_by_python_without_a_way_back(make: Make) -> None:
    """The rehearsal tells Django's own refusal before anything is live, and the roll back tells it again."""
    project = make(Kind(NO_WAY_BACK, NOTES, (100, 1, 1)))
    plan = project.plan(START, TO)
    plan = plan.model_copy(update={"migration_sql": project.tool().sql(START, TO)})
    rehearsal = rehearse(plan, project.folder)
    assert "sql-unwritten" in {finding.code for finding in rehearsal.findings}
    assert any(ran.sql.startswith('UPDATE "orders_order" SET "note" = ') for ran in rehearsal.statements)
    assert (rehearsal.reversibility, [without_address(loss) for loss in rehearsal.losses]) == ("fails", [IRREVERSIBLE])
    migrate(plan, project.folder, rehearsal)
    with pytest.raises(SlipwayError) as failed:
        roll_back(plan, project.folder, rehearsal)
    assert without_address(failed.value.failed) == IRREVERSIBLE
    assert failed.value.retry_is_safe
    assert project.run(NOTES) == [(1,)]
    assert where_it_stands(plan, project.folder) == (
        f"The database of shop stands at {TO}: after the change, which was not judged."
    )


def test_a_migration_that_breaks(make: Make) -> None:
    """It is told in the words of the database, from the copy, and nothing live is touched."""
    project = make(Kind('migrations.RunSQL("CREATE TABLE half (); SELECT 1 / 0", "DROP TABLE half")', NOTES, (0, 0, 0)))
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
    project = make()
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


def test_a_lock_that_is_not_to_be_had(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's own failure over a lock is known as one: the ladder tries again, and then names who is in the way."""
    monkeypatch.setattr(
        "slipway.databases.postgresql.migration_lock.LOOK_EVERY_S", 0.01
    )  # so that each try sees its blocker
    project = make(LOSSLESS[0])
    project.bin_folder = BIN  # Python itself, not in a fork
    project.limits = {"lock_timeout_s": 1, "tries": 2}
    url = project.live.connection_url().replace("+psycopg", "")
    with psycopg.connect(url, application_name="the shop") as busy:
        busy.execute("SELECT count(*) FROM orders_order")
        with pytest.raises(SlipwayError, match=r"It got no lock in 2 tries, blocked by pid \d+ \(the shop, ") as failed:
            migrate(project.plan(START, TO), project.folder)
        busy.rollback()
    assert failed.value.failed.startswith(
        "`python manage.py migrate orders 0002_change --no-input` ended with 1: django.db.utils.OperationalError: "
        f"canceling statement due to lock timeout. The database still stands at {START}."
    )
    assert failed.value.retry_is_safe
