"""Checks of databases other than PostgreSQL before anything is changed: in validate, doctor and backfill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.backfilling import backfill
from slipway.cli.doctor import examine
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import Settings
from slipway.shipping.validate import validate
from tests.histories import VARIABLE
from tests.plain_histories import PlainHistory
from tests.shipping.test_validate import CHANGE, MIGRATE
from tests.sites import Answer, Site

ENTRY = """
[[service]]
name = "shop"
url = "{url}"
directory = "shop"
routes = ["/products/*", "/health"]
[service.database]
url = {{ env = "{variable}" }}
{more}
[service.migrations]
bin = "{bin}"
[service.migrations.commands]
upgrade = ["python", "migrate.py", "up", "{{to}}"]
downgrade = ["python", "migrate.py", "down", "{{to}}"]
current = ["python", "migrate.py", "current"]
sql = ["python", "migrate.py", "sql", "{{from}}", "{{to}}"]
"""

Set = Callable[..., Settings]


@pytest.fixture
def set_up(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Return a function that sets up a service, with a SQLite file at its first revision, and a change for it."""
    site.pages["/health"] = Answer("ok")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "live.db").touch()
    monkeypatch.setenv(VARIABLE, "sqlite:///live.db")
    history = PlainHistory(tmp_path / "shop", "sqlite:///live.db", [("CREATE TABLE a (id int)", ""), ("SELECT 1", "")])
    history.set_first_revision()
    (tmp_path / "changes" / "faster").mkdir(parents=True)
    (tmp_path / "changes" / "faster" / "change.toml").write_text(CHANGE.format(parts=MIGRATE.format("0001", "0002")))

    def build(url: str = "sqlite:///live.db", more: str = "") -> Settings:
        monkeypatch.setenv(VARIABLE, url)
        migrations = history.service().migrations
        assert migrations is not None
        entry = ENTRY.format(url=site.url, variable=VARIABLE, more=more, bin=migrations.bin)
        (tmp_path / "slipway.toml").write_text(entry)
        return Settings(config=tmp_path / "slipway.toml", changes=tmp_path / "changes")

    return build


CLONE = f'clone = {{ env = "{VARIABLE}" }}'
REFUSED = [
    pytest.param("oracle://u:hunter2@db/x", "", "Slipway does not support oracle databases.", id="scheme"),
    pytest.param("sqlite+nothing:///live.db", "", "The driver nothing for sqlite is unknown.", id="driver"),
    pytest.param(
        "mysql+nothing://u:hunter2@db/x", "", "The driver nothing for mysql is unknown.", id="driver of MariaDB"
    ),
    pytest.param("mysql://u:hunter2@db", "", "The database URL names no database.", id="no database named"),
    pytest.param("sqlite:///", "", "The database URL does not name a file.", id="no file named"),
    pytest.param(
        "sqlite:///live.db", CLONE, "The database of shop is SQLite, which does not support a clone.", id="clone"
    ),
]


def test_a_relative_file_is_found_from_the_service_directory(set_up: Set) -> None:
    """Slipway and the service's migration tool both resolve the path from the service's directory."""
    plan = validate("faster", set_up())
    assert [ran.argv[2] for ran in plan.commands] == ["current", "sql"]


@pytest.mark.parametrize(("url", "more", "message"), REFUSED)
def test_validate_refuses_an_unusable_database(set_up: Set, url: str, more: str, message: str) -> None:
    """The database is refused before the migration tool runs, and the error contains no password."""
    with pytest.raises(InvalidInput) as refused:
        validate("faster", set_up(url, more))
    assert refused.value.failed == message
    assert "hunter2" not in str(refused.value)


def test_a_missing_file_is_refused(set_up: Set, tmp_path: Path) -> None:
    """The error contains the full path of the missing file, and the file is not created."""
    settings = set_up("sqlite:///gone.db")
    with pytest.raises(InvalidInput) as refused:
        validate("faster", settings)
    assert refused.value.failed == f"The SQLite file {tmp_path}/shop/gone.db does not exist."
    assert refused.value.expected == "sqlite:////folder/file, or sqlite:///file relative to the service's directory"
    assert not (tmp_path / "shop" / "gone.db").exists()


@pytest.mark.parametrize(("url", "more", "message"), REFUSED)
def test_doctor_reports_an_unusable_database(set_up: Set, url: str, more: str, message: str) -> None:
    """Doctor has a line for the database of each service that migrates."""
    [line] = [line for line in examine(set_up(url, more)) if line.name == "database of shop"]
    assert not line.ok
    assert line.detail.startswith(message)


def test_doctor_names_a_usable_database(set_up: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    """A usable database is named; a database whose variable is set only on the worker is not checked."""
    settings = set_up()
    [line] = [line for line in examine(settings) if line.name == "database of shop"]
    assert (line.ok, line.detail) == (True, "live.db")
    monkeypatch.delenv(VARIABLE)
    [line] = [line for line in examine(settings) if line.name == "database of shop"]
    message = f"not checked: the environment variable {VARIABLE} is set only on the worker"
    assert (line.ok, line.detail) == (True, message)


def test_a_backfill_needs_postgresql(set_up: Set, tmp_path: Path) -> None:
    """A backfill, and a change that requires a backfill, are refused on another database."""
    settings = set_up()
    (tmp_path / "changes" / "fill").mkdir()
    head = CHANGE.partition("{parts}")[0]
    (tmp_path / "changes" / "fill" / "backfill.toml").write_text(
        head + 'table = "a"\nkey = "id"\nset = { note = "id" }\n'
    )
    message = "A backfill needs PostgreSQL, but shop uses another database system."
    with pytest.raises(SlipwayError) as refused:
        backfill.validate("fill", settings)
    assert (refused.value.failed, refused.value.expected) == (message, "A service whose database is PostgreSQL.")
    change = tmp_path / "changes" / "faster" / "change.toml"
    change.write_text(CHANGE.format(parts='requires_backfill = ["fill"]\n'))
    with pytest.raises(SlipwayError, match=f"^{message}"):
        validate("faster", settings)
