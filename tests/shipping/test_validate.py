"""Validate a change: every check that is possible before anything is changed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.backfilling.backfill import backfill
from slipway.backfilling.backfill import validate as validate_backfill
from slipway.config.plan import PurgePlan
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.settings import Settings
from slipway.shipping.validate import validate
from tests.histories import VARIABLE, History
from tests.sites import Answer, Site

CHANGE = """\
service = "shop"
owner = "shop team"
reason = "it is slow"
expected = "it is faster"
rollback = "nothing is lost"
{parts}
[measure]
targets = [{{ route = "/products/1" }}]
control = {{ route = "/products/2" }}
"""
MIGRATE = '[migrate]\nfrom = "{}"\nto = "{}"\n'
PURGE = '[purge]\nroutes = ["/products/1"]\n'
CHECK = "PURGE /.slipway-purge-check"


def write(folder: Path, parts: str) -> None:
    """Write the change `faster` into the folder of changes."""
    (folder / "changes" / "faster").mkdir(parents=True, exist_ok=True)
    (folder / "changes" / "faster" / "change.toml").write_text(CHANGE.format(parts=parts))


@pytest.fixture
def settings(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, forked_alembic: Path) -> Settings:
    """Return an installation with one service that is also its own cache; the site answers at its first plain route."""
    monkeypatch.setenv("TEST_PURGE_TOKEN", "right-token")
    entry = f"""
[[service]]
name = "shop"
url = {json.dumps(site.url)}
directory = "shop"
routes = ["/products/*", "/health"]
[service.cache]
kind = "varnish"
url = {json.dumps(site.url)}
token = {{ env = "TEST_PURGE_TOKEN" }}
[service.database]
url = {{ env = "{VARIABLE}" }}
[service.migrations]
preset = "alembic"
bin = {json.dumps(str(forked_alembic))}
"""
    (tmp_path / "slipway.toml").write_text(entry)
    (tmp_path / "shop").mkdir()
    site.pages |= {"/health": Answer("ok"), CHECK: Answer("")}
    return Settings(config=tmp_path / "slipway.toml", changes=tmp_path / "changes")


@pytest.fixture
def history(tmp_path: Path, settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return the service's history of two revisions; its live database is at the first."""
    monkeypatch.setenv(VARIABLE, database)
    migrations = History(
        tmp_path / "shop", database, [("CREATE TABLE a (id int)", "DROP TABLE a"), ("CREATE TABLE b ()", "")]
    )
    migrations.set_revision("0001")
    return migrations


@pytest.fixture
def refused(tmp_path: Path, site: Site, settings: Settings) -> Callable[[str], SlipwayError]:
    """Return a function that validates a change with these parts, and returns its error; nothing may be written."""

    def error_of(parts: str) -> SlipwayError:
        write(tmp_path, parts)
        with pytest.raises(SlipwayError) as raised:
            validate("faster", settings)
        assert set(site.non_get_requests()) <= {CHECK}
        return raised.value

    return error_of


def untouched(history: History) -> bool:
    """Return whether the live database is as the fixture left it."""
    tables = history.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return tables == [("a",), ("alembic_version",)] and history.version() == "0001"


def test_a_valid_change_returns_its_plan(tmp_path: Path, site: Site, settings: Settings, history: History) -> None:
    """The plan contains the change, its service, its digest and the SQL of the migration; nothing is changed."""
    write(tmp_path, MIGRATE.format("0001", "0002") + PURGE)
    plan = validate("faster", settings)
    assert (plan.name, plan.service.name, plan.change.owner) == ("faster", "shop", "shop team")
    assert len(plan.digest) == 64
    assert "CREATE TABLE b ();" in plan.migration_sql.splitlines()
    assert [ran.argv for ran in plan.commands] == [
        ("alembic", "current"),
        ("alembic", "upgrade", "0001:0002", "--sql"),
    ]
    assert plan.leaving == PurgePlan(routes=("/products/1",))
    assert site.requested("GET") == ["/health"]
    assert site.non_get_requests() == [CHECK]
    assert untouched(history)
    assert "server-secret" not in plan.model_dump_json() and "right-token" not in plan.model_dump_json()


BY_IDS = '[purge]\ntags = ["menu"]\nby_ids = [{{ pattern = "/products/{{id}}", ids = "{}" }}]\n'


def test_the_plan_lists_the_pages_to_purge(tmp_path: Path, site: Site, settings: Settings, history: History) -> None:
    """The plan lists the named routes, one route for each id of the query, and the known pages with a purged tag."""
    history.run("INSERT INTO a VALUES (7), (9), (3)")
    site.pages["/products/2"] = Answer("two", headers={"Surrogate-Key": "front menu"})
    purge = BY_IDS.format("SELECT id FROM a WHERE id::text <> '3' ORDER BY 1").replace(
        "tags", 'routes = ["/products/7"]\ntags'
    )
    write(tmp_path, purge)
    plan = validate("faster", settings)
    assert plan.leaving == PurgePlan(routes=("/products/7", "/products/9"), tags=("menu",), tagged=("/products/2",))
    assert plan.leaving.sentence == "/products/7, /products/9; tag menu (known pages: /products/2)."


@pytest.mark.parametrize(
    ("query", "failed"),
    [
        ("SELECT nothing FROM a", 'column \\"nothing\\" does not exist'),
        ("DELETE FROM a RETURNING id", "cannot execute DELETE in a read-only transaction"),
        ("SELECT 'a/../b'", "The query for /products/{id} finds 'a/../b', which is not an id."),
        ("SELECT NULL", "The query for /products/{id} finds 'None', which is not an id."),
        ("SELECT generate_series(1, 501)", "The query for /products/{id} finds more than 500 ids."),
    ],
)
def test_a_query_that_does_not_return_ids_is_refused(
    refused: Callable[[str], SlipwayError], history: History, query: str, failed: str
) -> None:
    """A query that fails, writes, or returns anything but ids is refused, and nothing is changed."""
    history.run("INSERT INTO a VALUES (1)")
    assert failed.replace('\\"', '"') in refused(BY_IDS.format(query)).failed
    assert history.run("SELECT id FROM a") == [(1,)]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("/products", "must be a route that contains {id} exactly once"),
        ("/{id}/{id}", "exactly once"),
        ("/other/{id}", "outside the service shop"),
    ],
)
def test_an_invalid_pattern_is_refused(refused: Callable[[str], SlipwayError], pattern: str, reason: str) -> None:
    """A pattern is a route of the service that contains {id} once."""
    assert reason in refused(BY_IDS.format("SELECT 1").replace("/products/{id}", pattern)).failed


def test_a_query_of_two_statements_is_refused(refused: Callable[[str], SlipwayError]) -> None:
    """A semicolon is refused before any query runs."""
    assert "without ';'" in refused(BY_IDS.format("SELECT 1; DROP TABLE a")).failed


def test_a_change_that_only_measures_needs_no_database_and_no_cache(
    tmp_path: Path, site: Site, settings: Settings
) -> None:
    """Without a migration and a purge, neither the database nor the cache is queried."""
    write(tmp_path, "")
    plan = validate("faster", settings)
    assert (plan.migration_sql, plan.commands, plan.commit, plan.files) == ("", (), "", ())
    assert [request.target for request in site.requests] == ["/health"]


def test_the_files_of_a_change(tmp_path: Path, settings: Settings) -> None:
    """The plan lists the commit and its files, marks uncommitted files, and omits the files that a run writes."""
    write(tmp_path, "")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "changes", "slipway.toml"], ["commit", "-qm", "Make it faster"]):
        subprocess.run([*git, *arguments], check=True)
    for name in ("notes.md", "record.md", "before-after.svg"):
        (tmp_path / "changes" / "faster" / name).write_text("x")
    plan = validate("faster", settings)
    assert plan.commit.endswith(" Make it faster")
    assert plan.files == ("changes/faster/change.toml", "slipway.toml", "changes/faster/notes.md (not committed)")


def test_an_unknown_service_is_refused_with_the_known_ones(tmp_path: Path, settings: Settings) -> None:
    """The error for an unknown service lists the known services."""
    write(tmp_path, "")
    file = settings.changes / "faster" / "change.toml"
    file.write_text(file.read_text().replace('"shop"', '"mail"'))
    with pytest.raises(InvalidInput) as refused:
        validate("faster", settings)
    assert str(refused.value) == "There is no service 'mail'. Expected: One of: shop. A retry is safe."


def test_a_change_that_does_not_fit_is_refused(refused: Callable[[str], SlipwayError], site: Site) -> None:
    """A change that does not fit its service is refused before the first request to the service."""
    error = refused('[purge]\nroutes = ["/admin"]\n')
    assert error.failed == "The route /admin is outside the service shop."
    assert site.requests == []


def test_a_service_that_does_not_answer_is_unavailable(tmp_path: Path, settings: Settings) -> None:
    """A service that does not answer raises Unavailable."""
    with Site() as gone:
        url = gone.url
    text = settings.config.read_text()
    settings.config.write_text(text.replace(text.split('url = "')[1].split('"')[0], url))
    write(tmp_path, PURGE)
    with pytest.raises(Unavailable) as raised:
        validate("faster", settings)
    assert str(raised.value) == (
        "Service shop does not answer GET /health: ConnectError. Expected: The service answers within 10 s. A retry is safe."
    )


def test_a_service_that_answers_500_is_refused(refused: Callable[[str], SlipwayError], site: Site) -> None:
    """A service that answers 500 is refused before the first request to its cache."""
    site.pages["/health"] = Answer("", 500)
    error = refused(PURGE)
    assert str(error) == (
        "Service shop answers /health with 500. Expected: The service answers without a server error before a change is "
        "shipped. A retry is safe."
    )
    assert site.non_get_requests() == []


@pytest.mark.parametrize("status", [403, 405])
def test_a_cache_that_refuses_to_purge_stops_the_validation(
    refused: Callable[[str], SlipwayError], site: Site, history: History, status: int
) -> None:
    """A cache that refuses purges is detected before the migration."""
    site.pages[CHECK] = Answer("", status)
    error = refused(MIGRATE.format("0001", "0002") + PURGE)
    assert error.failed == f"The cache refused to purge /.slipway-purge-check: it answered {status}."
    assert (
        error.expected == "The cache allows the purge. Check the token and the client addresses that the cache allows."
    )
    assert error.retry_is_safe
    assert untouched(history)


def test_a_missing_secret_is_refused(refused: Callable[[str], SlipwayError], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the missing environment variable, and nothing is purged."""
    monkeypatch.delenv("TEST_PURGE_TOKEN")
    assert refused(PURGE).failed == "The environment variable TEST_PURGE_TOKEN is not set."


def test_a_database_at_another_revision_is_refused(refused: Callable[[str], SlipwayError], history: History) -> None:
    """The error names the database's revision and the revision where the change starts."""
    error = refused(MIGRATE.format("0002", "0001"))
    assert isinstance(error, InvalidInput)
    assert error.failed == "The database of shop is at revision 0001, not at 0002."
    assert error.expected == "The database is at revision 0002, where this change starts."
    assert untouched(history)


def test_an_unknown_revision_is_refused(refused: Callable[[str], SlipwayError], history: History) -> None:
    """The error for an unknown revision quotes the migration tool."""
    error = refused(MIGRATE.format("0001", "0009"))
    assert error.failed == (
        "The service's migration tool has no migration from 0001 to 0009: FAILED: Can't locate revision identified by '0009'."
    )
    assert error.expected == "Both revisions are in the service's own history."
    assert untouched(history)


def test_a_missing_migration_tool_is_refused(
    refused: Callable[[str], SlipwayError],
    settings: Settings,
    history: History,
    forked_alembic: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error for a missing migration tool names the folder from slipway.toml."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # an activated environment of ours would have an Alembic of its own
    settings.config.write_text(settings.config.read_text().replace(str(forked_alembic), ".venv/bin"))
    error = refused(MIGRATE.format("0001", "0002"))
    assert error.failed == "The command 'alembic' was not found."
    assert error.expected == (
        f"The command is in {history.folder}/.venv/bin. Set up the service's own environment first."
    )
    assert untouched(history)


def test_a_change_with_an_unfinished_backfill_is_refused(
    tmp_path: Path, settings: Settings, history: History, refused: Callable[[str], SlipwayError]
) -> None:
    """A change that requires a backfill is refused until the backfill has finished with its current file."""
    history.run("INSERT INTO a VALUES (1)")
    history.run("ALTER TABLE a ADD PRIMARY KEY (id)")
    required = 'requires_backfill = ["fill"]\n'
    (tmp_path / "changes" / "fill").mkdir(parents=True)
    assert refused(required).failed == "There is no backfill 'fill'."
    backfill_file = tmp_path / "changes" / "fill" / "backfill.toml"
    head = CHANGE.partition("{parts}")[0] + 'table = "a"\nkey = "id"\n'
    history.run("ALTER TABLE a ADD COLUMN size int")
    backfill_file.write_text(head + 'set = { size = "2 * id" }\n')
    assert refused(required).failed == "The backfill fill, which this change requires, has not started."
    backfill(validate_backfill("fill", settings), settings.changes, lambda _: None, str)
    assert validate("faster", settings).change.requires_backfill == ("fill",)
    backfill_file.write_text(head + 'set = { size = "3 * id" }\n')
    assert refused(required).failed == "The backfill fill, which this change requires, was run with a different file."
