"""A service's migration tool: the real Django, where each app has its own revisions."""

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
    """Return a project of two apps and an empty database; orders.0002 depends on customers.0002."""
    project = DjangoProject(tmp_path, database, forked_django)
    project.add("customers.0002_name", ("customers.0001_initial",), ADD_NAME)
    project.add("orders.0002_size", (START, "customers.0002_name"), ADD_SIZE)
    return project


def test_the_current_revision_of_each_app(project: DjangoProject) -> None:
    """An empty database is at base, an app without an applied migration at zero, other apps at their last migration."""
    tool = project.tool()
    assert (tool.current(), tool.current("orders.0002_size")) == ("base", "orders.zero")
    project.set_revision("customers.0002_name")
    assert tool.current(START) == "orders.zero"
    assert tool.current("customers.zero") == "customers.0002_name"
    assert tool.current() == "customers.0001_initial"  # any applied migration, to detect another database
    assert tool.commands[0].argv == ("python", "manage.py", "showmigrations", "--plan", "--verbosity", "2")


def test_upgrade_and_downgrade_stop_at_the_requested_migration(project: DjangoProject) -> None:
    """A downgrade keeps the dependencies in other apps."""
    project.bin_folder = BIN  # Python itself, not in a fork
    tool = project.tool()
    assert tool.upgrade("orders.0002_size").exit_code == 0
    assert project.applied() == {"customers": 2, "orders": 2}
    assert tool.downgrade(START).exit_code == 0
    assert project.applied() == {"customers": 2, "orders": 1}
    assert tool.downgrade("orders.zero").exit_code == 0
    assert (tool.current(START), project.applied()) == ("orders.zero", {"customers": 2})
    assert tool.commands[1].argv == ("python", "manage.py", "migrate", "orders", "0001_initial", "--no-input")


def test_the_sql_of_a_migration_includes_its_dependencies(project: DjangoProject) -> None:
    """The SQL of each migration to apply is printed, also of dependencies in other apps; nothing is run."""
    project.set_revision(START)
    tool = project.tool()
    sql = tool.sql(START, "orders.0002_size")
    assert [run.argv[2:] for run in tool.commands[1:]] == [
        ("sqlmigrate", "customers", "0001_initial"),
        ("sqlmigrate", "customers", "0002_name"),
        ("sqlmigrate", "orders", "0002_size"),
    ]
    assert 'ALTER TABLE "customers_customer" ADD COLUMN "name" text DEFAULT \'\' NOT NULL;' in sql.splitlines()
    assert 'ALTER TABLE "orders_order" ADD COLUMN "size" integer DEFAULT 3 NOT NULL;' in sql.splitlines()
    assert 'CREATE TABLE "orders_order"' not in sql
    assert project.applied() == {"orders": 1}


def test_an_unknown_migration_is_refused(project: DjangoProject) -> None:
    """An unknown migration is refused before Django prints any SQL."""
    tool = project.tool()
    with pytest.raises(InvalidInput) as refused:
        tool.sql("orders.zero", "orders.0009")
    assert refused.value.failed == (
        "The service's migration tool has no migration from orders.zero to orders.0009: "
        "there is no path from orders.zero to orders.0009."
    )
    assert refused.value.expected == "Both revisions are in the service's own history."
    assert len(tool.commands) == 1
    with pytest.raises(SlipwayError) as failed:
        tool.current("order.0001_initial")
    assert failed.value.failed == (
        f"Could not read the revision of the database from {SHOWMIGRATIONS}: the app order has no migrations."
    )
    assert failed.value.retry_is_safe


def test_two_applied_branches_are_refused(project: DjangoProject) -> None:
    """Two applied branches of an app are an error that names both, until they are merged."""
    project.add("orders.0002_other", (START,), 'migrations.AddField("order", "other", models.IntegerField(null=True))')
    both = ("orders.0002_other", "orders.0002_size")
    project.add("orders.0003_merge", both, "")
    project.set_revision("orders.0003_merge")
    assert project.tool().current(START) == "orders.0003_merge"
    project.run("DELETE FROM django_migrations WHERE name = '0003_merge'")
    with pytest.raises(SlipwayError) as failed:
        project.tool().current(START)
    assert failed.value.failed == (
        f"Could not read the revision of the database from {SHOWMIGRATIONS}: "
        "orders.0002_other and orders.0002_size are separate branches and must be merged first."
    )


def test_an_invalid_checklist_is_refused(project: DjangoProject) -> None:
    """An invalid checklist is an error for the revision of one app, of any app, and for the SQL."""
    (project.folder / "manage.py").write_text("print('orders')", encoding="utf-8")
    tool = project.tool()
    for read in (lambda: tool.current(""), lambda: tool.current(START), lambda: tool.sql("orders.zero", START)):
        with pytest.raises(SlipwayError) as failed:
            read()
        assert failed.value.failed == (
            f"Could not read the revision of the database from {SHOWMIGRATIONS}: this is not a line of a checklist: orders."
        )
        assert failed.value.expected == (
            "The command prints a line `[X]  app.name ... (dependencies)` for each migration, with a space instead of the X if "
            "the migration is not applied."
        )
        assert failed.value.retry_is_safe


def test_the_error_of_an_unreachable_database_contains_no_password(project: DjangoProject) -> None:
    """The error quotes Django's exception, without the password."""
    url = project.live.connection_url().replace(project.live.name, "nowhere")
    with pytest.raises(SlipwayError) as failed:
        MigrationTool(project.service(), url, project.folder).current(START)
    assert failed.value.failed.startswith(f"{SHOWMIGRATIONS} exited with 1: django.db.utils.OperationalError: ")
    assert "server-secret" not in str(failed.value)
    assert failed.value.retry_is_safe


def test_only_the_last_lines_of_a_long_list_are_saved(project: DjangoProject) -> None:
    """The whole list is parsed, but the command run contains only its last lines."""
    before = START
    for number in range(3, 60):
        before = project.add(f"orders.{number:04}_none", (before,), "")
    tool = project.tool()
    assert tool.current(START) == "orders.zero"
    assert len(tool.commands[0].output.splitlines()) == 40


def test_explicit_commands_with_a_checklist(project: DjangoProject) -> None:
    """A service that starts Django in another way configures the commands itself."""
    preset = project.service().migrations
    assert preset is not None
    argvs = preset.argv.model_dump(exclude={"prints"})
    commands = {name: ("env", *argv) for name, argv in argvs.items()}
    tool = project.tool(preset=None, commands={**commands, "prints": "checklist"}, bin=str(BIN))
    assert tool.upgrade(START).exit_code == 0
    assert tool.current(START) == START
