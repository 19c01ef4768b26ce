"""Rehearse, migrate and roll back each kind of change with the real Django."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from slipway.core.errors import SlipwayError
from slipway.migrations.current_revision import describe_revision
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
IRREVERSIBLE_ROWS = "migrations.RunPython(change_notes)"
IRREVERSIBLE = (
    "`python manage.py migrate orders 0001_initial --no-input` exited with 1: "
    "django.db.migrations.exceptions.IrreversibleError: Operation <RunPython <function change_notes at 0x?>> in "
    f"{TO} is not reversible. The database is still at revision {TO}."
)


@dataclass(frozen=True)
class Kind:
    """A kind of change: its operation, and the results of a query before it, after it, and after its rollback."""

    operation: str
    query: str
    results: tuple[int, int, int]
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
    """Return a function that makes a project at its first migration, with rows, and with further migrations."""
    monkeypatch.setenv(VARIABLE, database)

    def build(*kinds: Kind) -> DjangoProject:
        project, last = DjangoProject(tmp_path, database, forked_django), START
        for number, kind in enumerate(kinds, start=2):
            last = project.add(f"orders.{number:04}_change", (last,), kind.operation, atomic=kind.atomic)
        project.set_revision(START)
        project.run("INSERT INTO orders_order (total, note) SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        return project

    return build


def without_address(text: str) -> str:
    """Return a loss without the memory address of a function."""
    before, _, after = text.partition(" at 0x")
    return f"{before} at 0x?>{after.partition('>')[2]}" if after else text


@pytest.mark.parametrize(
    ("kinds", "reversibility", "losses"),
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
def test_each_kind_of_change_is_migrated_and_rolled_back(
    make: Make, kinds: tuple[Kind, ...], reversibility: str, losses: tuple[str, ...]
) -> None:
    """The queries have the expected results after a migration, a repeat and a rollback, as the rehearsal predicted."""
    project, to = make(*kinds), f"orders.{len(kinds) + 1:04}_change"
    plan, schema = project.plan(START, to), project.live.schema()
    rehearsal = rehearse(plan, project.folder)
    assert (rehearsal.reversibility, tuple(sorted(rehearsal.losses))) == (reversibility, losses)
    assert (project.live.schema(), project.applied()) == (schema, {"orders": 1})

    def results() -> tuple[int, ...]:
        return tuple(project.run(kind.query)[0][0] for kind in kinds)

    before, after, back = (tuple(kind.results[at] for kind in kinds) for at in range(3))
    assert results() == before
    for acted, commands in ((True, 3), (False, 1)):
        migration = migrate(plan, project.folder, rehearsal)
        assert migration is not None and (migration.acted, len(migration.commands)) == (acted, commands)
        assert (results(), project.applied()) == (after, {"orders": len(kinds) + 1})
    assert roll_back(plan, project.folder, rehearsal).sentence == f"the database moved from revision {to} to {START}."
    assert (results(), project.applied(), project.live.schema()) == (back, {"orders": 1}, schema)


def test_a_noop_downgrade_of_changed_rows_does_nothing(make: Make) -> None:
    """Django's noop changes nothing, so the reversibility is "does nothing"."""
    project = make(Kind(ROWS, NOTES, (100, 1, 1)))
    rehearsal = rehearse(project.plan(START, TO), project.folder)
    assert rehearsal.reversibility == "does nothing"
    assert rehearsal.losses == ("public.orders_order.note: values differ, 100 in 100 rows",)


def test_an_irreversible_operation_fails_the_downgrade(make: Make) -> None:
    """The rehearsal and the rollback both report Django's IrreversibleError."""
    project = make(Kind(IRREVERSIBLE_ROWS, NOTES, (100, 1, 1)))
    plan = project.plan(START, TO)
    plan = plan.model_copy(update={"migration_sql": project.tool().sql(START, TO)})
    rehearsal = rehearse(plan, project.folder)
    assert "sql-unwritten" in {finding.code for finding in rehearsal.findings}
    assert any(statement.sql.startswith('UPDATE "orders_order" SET "note" = ') for statement in rehearsal.statements)
    assert (rehearsal.reversibility, [without_address(loss) for loss in rehearsal.losses]) == ("fails", [IRREVERSIBLE])
    migrate(plan, project.folder, rehearsal)
    with pytest.raises(SlipwayError) as failed:
        roll_back(plan, project.folder, rehearsal)
    assert without_address(failed.value.failed) == IRREVERSIBLE
    assert failed.value.retry_is_safe
    assert project.run(NOTES) == [(1,)]
    assert describe_revision(plan, project.folder) == (
        f"The database of shop is at revision {TO}: after the change, which has no verdict yet."
    )


def test_an_upgrade_that_fails_on_the_copy_stops_the_rehearsal(make: Make) -> None:
    """The error quotes the database, and the live database is unchanged."""
    project = make(Kind('migrations.RunSQL("CREATE TABLE half (); SELECT 1 / 0", "DROP TABLE half")', NOTES, (0, 0, 0)))
    schema = project.live.schema()
    with pytest.raises(SlipwayError) as failed:
        rehearse(project.plan(START, TO), project.folder)
    assert failed.value.failed == (
        "The upgrade failed on the copy of the live database: `python manage.py migrate orders 0002_change --no-input` "
        "exited with 1: django.db.utils.DataError: division by zero. The database is still at revision orders.0001_initial. "
        "Nothing live was changed."
    )
    assert failed.value.retry_is_safe
    assert (project.live.schema(), project.applied()) == (schema, {"orders": 1})


def test_a_tool_that_ignores_the_variable_is_refused(make: Make) -> None:
    """Settings that always name the live database are detected by any migration that is applied there."""
    project = make()
    settings = project.folder / "settings.py"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(
        text.replace('os.environ["DATABASE_URL"]', repr(project.live.connection_url())), encoding="utf-8"
    )
    with pytest.raises(SlipwayError) as refused:
        rehearse(project.plan("customers.zero", "customers.0001_initial"), project.folder)
    assert refused.value.failed == (
        "`python manage.py showmigrations --plan --verbosity 2` reports revision orders.0001_initial for an empty database. "
        "The command ignores the variable DATABASE_URL and would change a database other than the copy. Nothing was changed."
    )


def test_djangos_lock_timeout_is_retried(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's lock timeout is recognised and retried; the last error names the blocker."""
    monkeypatch.setattr(
        "slipway.databases.postgresql.migration_lock.POLL_EVERY_S", 0.01
    )  # each attempt records its blocker
    project = make(LOSSLESS[0])
    project.bin_folder = BIN  # Python itself, not in a fork
    project.limits = {"lock_timeout_s": 1, "tries": 2}
    url = project.live.connection_url().replace("+psycopg", "")
    with psycopg.connect(url, application_name="the shop") as busy:
        busy.execute("SELECT count(*) FROM orders_order")
        with pytest.raises(
            SlipwayError, match=r"The migration could not get a lock in 2 attempts, blocked by pid \d+ \(the shop, "
        ) as failed:
            migrate(project.plan(START, TO), project.folder)
        busy.rollback()
    assert failed.value.failed.startswith(
        "`python manage.py migrate orders 0002_change --no-input` exited with 1: django.db.utils.OperationalError: "
        f"canceling statement due to lock timeout. The database is still at revision {START}."
    )
    assert failed.value.retry_is_safe
