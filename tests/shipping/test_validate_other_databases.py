"""What can be known of a database that is not PostgreSQL before anything is touched: at validate, doctor and backfill."""

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
    """An installation with one service, whose SQLite file stands at its first revision, and a change for it."""
    site.pages["/health"] = Answer("ok")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "live.db").touch()
    monkeypatch.setenv(VARIABLE, "sqlite:///live.db")
    history = PlainHistory(tmp_path / "shop", "sqlite:///live.db", [("CREATE TABLE a (id int)", ""), ("SELECT 1", "")])
    history.stand_at_first()
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
    pytest.param("oracle://u:hunter2@db/x", "", "oracle is no database that Slipway can rehearse on.", id="scheme"),
    pytest.param("sqlite+nothing:///live.db", "", "The driver nothing of sqlite is unknown.", id="driver"),
    pytest.param(
        "mysql+nothing://u:hunter2@db/x", "", "The driver nothing of mysql is unknown.", id="driver of MariaDB"
    ),
    pytest.param("mysql://u:hunter2@db", "", "The database URL names no database.", id="no database named"),
    pytest.param("sqlite:///", "", "The database URL names no file.", id="no file named"),
    pytest.param("sqlite:///live.db", CLONE, "The database of shop is SQLite, which has no clone.", id="clone"),
]


def test_a_change_that_is_fine(set_up: Set) -> None:
    """A relative file is seen from the service's directory, by Slipway and by the service's own tool."""
    plan = validate("faster", set_up())
    assert [ran.argv[2] for ran in plan.commands] == ["current", "sql"]


@pytest.mark.parametrize(("url", "more", "told"), REFUSED)
def test_what_validate_refuses(set_up: Set, url: str, more: str, told: str) -> None:
    """Each is refused before the service's tool runs, and no password is told."""
    with pytest.raises(InvalidInput) as refused:
        validate("faster", set_up(url, more))
    assert refused.value.failed == told
    assert "hunter2" not in str(refused.value)


def test_a_file_that_is_missing(set_up: Set, tmp_path: Path) -> None:
    """A file that is not there is told with its whole path, and is not made."""
    settings = set_up("sqlite:///gone.db")
    with pytest.raises(InvalidInput) as refused:
        validate("faster", settings)
    assert refused.value.failed == f"There is no SQLite file {tmp_path}/shop/gone.db."
    assert refused.value.expected == "sqlite:////folder/file, or sqlite:///file seen from the service's directory"
    assert not (tmp_path / "shop" / "gone.db").exists()


@pytest.mark.parametrize(("url", "more", "told"), REFUSED)
def test_what_doctor_says(set_up: Set, url: str, more: str, told: str) -> None:
    """Doctor has a line for the database of each service that migrates."""
    [line] = [line for line in examine(set_up(url, more)) if line.what == "database of shop"]
    assert not line.ok
    assert line.told.startswith(told)


def test_doctor_where_all_is_well(set_up: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that can be used is named; one whose variable is set elsewhere only is not looked at."""
    settings = set_up()
    [line] = [line for line in examine(settings) if line.what == "database of shop"]
    assert (line.ok, line.told) == (True, "live.db")
    monkeypatch.delenv(VARIABLE)
    [line] = [line for line in examine(settings) if line.what == "database of shop"]
    told = f"not looked at: the environment variable {VARIABLE} is known only where the jobs run"
    assert (line.ok, line.told) == (True, told)


def test_a_backfill_needs_postgresql(set_up: Set, tmp_path: Path) -> None:
    """A backfill, and a change that requires one, are refused in words."""
    settings = set_up()
    (tmp_path / "changes" / "fill").mkdir()
    head = CHANGE.partition("{parts}")[0]
    (tmp_path / "changes" / "fill" / "backfill.toml").write_text(
        head + 'table = "a"\nkey = "id"\nset = { note = "id" }\n'
    )
    told = "A backfill needs PostgreSQL, and the database of shop is another."
    with pytest.raises(SlipwayError) as refused:
        backfill.validate("fill", settings)
    assert (refused.value.failed, refused.value.expected) == (told, "A service whose database is PostgreSQL.")
    change = tmp_path / "changes" / "faster" / "change.toml"
    change.write_text(CHANGE.format(parts='requires_backfill = ["fill"]\n'))
    with pytest.raises(SlipwayError, match=f"^{told}"):
        validate("faster", settings)
