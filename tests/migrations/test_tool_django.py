"""A service's migration tool, here the real Django: revisions of its own for each app."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core.errors import InvalidInput, SlipwayError
from slipway.migrations.tool import MigrationTool
from tests.django_project import BIN, START, DjangoProject

SHOWMIGRATIONS = "`python manage.py showmigrations --plan --verbosity 2`"
ADD_SIZE = 'migrations.AddField("order", "size", models.IntegerField(default=3))'
ADD_NAME = 'migrations.AddField("customer", "name", models.TextField(default=""))'


@pytest.fixture
def project(tmp_path: Path, database: str, forked_django: Path) -> DjangoProject:
    """A project of two apps over an empty database; the second migration of orders needs the second of customers."""
    made = DjangoProject(tmp_path, database, forked_django)
    made.add("customers.0002_name", ("customers.0001_initial",), ADD_NAME)
    made.add("orders.0002_size", (START, "customers.0002_name"), ADD_SIZE)
    return made


def test_where_each_app_stands(project: DjangoProject) -> None:
    """An empty database stands nowhere, an app without an applied migration at zero, others at their last one."""
    tool = project.tool()
    assert (tool.current(), tool.current("orders.0002_size")) == ("base", "orders.zero")
    project.stand_at("customers.0002_name")
    assert tool.current(START) == "orders.zero"
    assert tool.current("customers.zero") == "customers.0002_name"
    assert tool.current() == "customers.0001_initial"  # anything at all, so that another database is seen
    assert tool.ran[0].argv == ("python", "manage.py", "showmigrations", "--plan", "--verbosity", "2")


def test_up_and_down(project: DjangoProject) -> None:
    """Upgrade and downgrade go to the migration that is named; what it needs of another app stays behind."""
    project.bin_folder = BIN  # Python itself, not in a fork
    tool = project.tool()
    assert tool.upgrade("orders.0002_size").exit_code == 0
    assert project.applied() == {"customers": 2, "orders": 2}
    assert tool.downgrade(START).exit_code == 0
    assert project.applied() == {"customers": 2, "orders": 1}
    assert tool.downgrade("orders.zero").exit_code == 0
    assert (tool.current(START), project.applied()) == ("orders.zero", {"customers": 2})
    assert tool.ran[1].argv == ("python", "manage.py", "migrate", "orders", "0001_initial", "--no-input")


def test_the_sql_of_a_move(project: DjangoProject) -> None:
    """Each migration on the way is asked for its SQL, those of another app that are still needed, too; nothing is run."""
    project.stand_at(START)
    tool = project.tool()
    sql = tool.sql(START, "orders.0002_size")
    assert [ran.argv[2:] for ran in tool.ran[1:]] == [
        ("sqlmigrate", "customers", "0001_initial"),
        ("sqlmigrate", "customers", "0002_name"),
        ("sqlmigrate", "orders", "0002_size"),
    ]
    assert 'ALTER TABLE "customers_customer" ADD COLUMN "name" text DEFAULT \'\' NOT NULL;' in sql.splitlines()
    assert 'ALTER TABLE "orders_order" ADD COLUMN "size" integer DEFAULT 3 NOT NULL;' in sql.splitlines()
    assert 'CREATE TABLE "orders_order"' not in sql
    assert project.applied() == {"orders": 1}


def test_no_such_move(project: DjangoProject) -> None:
    """A migration that is not there is refused before Django is asked for its SQL."""
    tool = project.tool()
    with pytest.raises(InvalidInput) as refused:
        tool.sql("orders.zero", "orders.0009")
    assert refused.value.failed == (
        "The service's tool knows no migration from orders.zero to orders.0009: "
        "no way leads from orders.zero to orders.0009."
    )
    assert refused.value.expected == "Two revisions of the service's own history."
    assert len(tool.ran) == 1
    with pytest.raises(SlipwayError) as failed:
        tool.current("order.0001_initial")
    assert failed.value.failed == (
        f"{SHOWMIGRATIONS} does not tell where the database stands: the app order has no migrations."
    )
    assert failed.value.retry_is_safe


def test_branches_side_by_side(project: DjangoProject) -> None:
    """Two applied migrations of an app that build upon the same one are an error that names both, until they are merged."""
    project.add("orders.0002_other", (START,), 'migrations.AddField("order", "other", models.IntegerField(null=True))')
    both = ("orders.0002_other", "orders.0002_size")
    project.add("orders.0003_merge", both, "")
    project.stand_at("orders.0003_merge")
    assert project.tool().current(START) == "orders.0003_merge"
    project.run("DELETE FROM django_migrations WHERE name = '0003_merge'")
    with pytest.raises(SlipwayError) as failed:
        project.tool().current(START)
    assert failed.value.failed == (
        f"{SHOWMIGRATIONS} does not tell where the database stands: "
        "orders.0002_other and orders.0002_size are applied side by side, and have to be merged first."
    )


def test_a_list_that_cannot_be_read(project: DjangoProject) -> None:
    """Whatever is no whole checklist is an error, whether an app is asked for, any, or the SQL."""
    (project.folder / "manage.py").write_text("print('orders')", encoding="utf-8")
    tool = project.tool()
    for ask in (lambda: tool.current(""), lambda: tool.current(START), lambda: tool.sql("orders.zero", START)):
        with pytest.raises(SlipwayError) as failed:
            ask()
        assert failed.value.failed == (
            f"{SHOWMIGRATIONS} does not tell where the database stands: no line of a checklist: orders."
        )
        assert failed.value.expected == (
            "A line `[X]  app.name ... (what it needs)` for each migration, with a space for the X where it is not applied."
        )
        assert failed.value.retry_is_safe


def test_a_database_that_is_away(project: DjangoProject) -> None:
    """Where the list cannot be told, Django's own last words are, without the password."""
    url = project.live.connection_url().replace(project.live.name, "nowhere")
    with pytest.raises(SlipwayError) as failed:
        MigrationTool(project.service(), url, project.folder).current(START)
    assert failed.value.failed.startswith(f"{SHOWMIGRATIONS} ended with 1: django.db.utils.OperationalError: ")
    assert "server-secret" not in str(failed.value)
    assert failed.value.retry_is_safe


def test_a_long_list_is_read_whole_and_kept_short(project: DjangoProject) -> None:
    """Of the list of an old project the run keeps the last lines only; the answer is that of all."""
    before = START
    for number in range(3, 60):
        before = project.add(f"orders.{number:04}_none", (before,), "")
    tool = project.tool()
    assert tool.current(START) == "orders.zero"
    assert len(tool.ran[0].output.splitlines()) == 40


def test_plain_commands_over_a_checklist(project: DjangoProject) -> None:
    """Who starts Django in another way writes the same commands out."""
    preset = project.service().migrations
    assert preset is not None
    argvs = preset.argv.model_dump(exclude={"prints"})
    commands = {name: ("env", *argv) for name, argv in argvs.items()}
    tool = project.tool(preset=None, commands={**commands, "prints": "checklist"}, bin=str(BIN))
    assert tool.upgrade(START).exit_code == 0
    assert tool.current(START) == START
