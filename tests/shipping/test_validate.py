"""Validating a change: everything that can be known before anything is touched."""

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
    """Put the change `faster` into the folder of changes."""
    (folder / "changes" / "faster").mkdir(parents=True, exist_ok=True)
    (folder / "changes" / "faster" / "change.toml").write_text(CHANGE.format(parts=parts))


@pytest.fixture
def settings(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, forked_alembic: Path) -> Settings:
    """An installation with one service, which is its own cache; the site answers at its first plain route."""
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
    """The service's history of two revisions; its live database stands at the first."""
    monkeypatch.setenv(VARIABLE, database)
    made = History(
        tmp_path / "shop", database, [("CREATE TABLE a (id int)", "DROP TABLE a"), ("CREATE TABLE b ()", "")]
    )
    made.stand_at("0001")
    return made


@pytest.fixture
def refused(tmp_path: Path, site: Site, settings: Settings) -> Callable[[str], SlipwayError]:
    """Validate a change with these parts, which must be refused with nothing written anywhere."""

    def look(parts: str) -> SlipwayError:
        write(tmp_path, parts)
        with pytest.raises(SlipwayError) as failed:
            validate("faster", settings)
        assert set(site.written()) <= {CHECK}
        return failed.value

    return look


def untouched(history: History) -> bool:
    """Whether the live database is as the fixture left it."""
    tables = history.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return tables == [("a",), ("alembic_version",)] and history.version() == "0001"


def test_a_change_that_is_fine(tmp_path: Path, site: Site, settings: Settings, history: History) -> None:
    """The plan holds the change, its service, its digest and the SQL to come, and nothing was changed."""
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
    assert site.asked("GET") == ["/health"]
    assert site.written() == [CHECK]
    assert untouched(history)
    assert "server-secret" not in plan.model_dump_json() and "right-token" not in plan.model_dump_json()


BY_IDS = '[purge]\ntags = ["menu"]\nby_ids = [{{ pattern = "/products/{{id}}", ids = "{}" }}]\n'


def test_what_will_leave_the_cache(tmp_path: Path, site: Site, settings: Settings, history: History) -> None:
    """The plan lists the named routes, one for each id that the query finds, and the known pages that carry a tag."""
    history.run("INSERT INTO a VALUES (7), (9), (3)")
    site.pages["/products/2"] = Answer("two", headers={"Surrogate-Key": "front menu"})
    purge = BY_IDS.format("SELECT id FROM a WHERE id::text <> '3' ORDER BY 1").replace(
        "tags", 'routes = ["/products/7"]\ntags'
    )
    write(tmp_path, purge)
    plan = validate("faster", settings)
    assert plan.leaving == PurgePlan(routes=("/products/7", "/products/9"), tags=("menu",), tagged=("/products/2",))
    assert plan.leaving.sentence == "/products/7, /products/9; tag menu (of the known pages: /products/2)."


@pytest.mark.parametrize(
    ("query", "failed"),
    [
        ("SELECT nothing FROM a", 'column \\"nothing\\" does not exist'),
        ("DELETE FROM a RETURNING id", "cannot execute DELETE in a read-only transaction"),
        ("SELECT 'a/../b'", "The query for /products/{id} finds 'a/../b', which is no id."),
        ("SELECT NULL", "The query for /products/{id} finds 'None', which is no id."),
        ("SELECT generate_series(1, 501)", "The query for /products/{id} finds more than 500 ids."),
    ],
)
def test_ids_that_are_none(refused: Callable[[str], SlipwayError], history: History, query: str, failed: str) -> None:
    """A query that does not read, or finds something else than ids, is the file's fault, and nothing is touched."""
    history.run("INSERT INTO a VALUES (1)")
    assert failed.replace('\\"', '"') in refused(BY_IDS.format(query)).failed
    assert history.run("SELECT id FROM a") == [(1,)]


@pytest.mark.parametrize(
    ("pattern", "wrong"),
    [
        ("/products", "a route with {id} in it, once"),
        ("/{id}/{id}", "once"),
        ("/other/{id}", "outside the service shop"),
    ],
)
def test_a_pattern_that_is_none(refused: Callable[[str], SlipwayError], pattern: str, wrong: str) -> None:
    """It needs its one place, below the service."""
    assert wrong in refused(BY_IDS.format("SELECT 1").replace("/products/{id}", pattern)).failed


def test_a_query_is_one_statement(refused: Callable[[str], SlipwayError]) -> None:
    """What would end it is refused before anything is asked."""
    assert "without ';'" in refused(BY_IDS.format("SELECT 1; DROP TABLE a")).failed


def test_a_change_that_only_measures(tmp_path: Path, site: Site, settings: Settings) -> None:
    """Without migration and purge neither database nor cache is asked."""
    write(tmp_path, "")
    plan = validate("faster", settings)
    assert (plan.migration_sql, plan.commands, plan.commit, plan.files) == ("", (), "", ())
    assert [request.target for request in site.requests] == ["/health"]


def test_the_files_of_a_change(tmp_path: Path, settings: Settings) -> None:
    """The plan names the commit and its files, marks what is not committed, and leaves out what a run writes."""
    write(tmp_path, "")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "changes", "slipway.toml"], ["commit", "-qm", "Make it faster"]):
        subprocess.run([*git, *arguments], check=True)
    for name in ("notes.md", "record.md", "before-after.svg"):
        (tmp_path / "changes" / "faster" / name).write_text("x")
    plan = validate("faster", settings)
    assert plan.commit.endswith(" Make it faster")
    assert plan.files == ("changes/faster/change.toml", "slipway.toml", "changes/faster/notes.md (not committed)")


def test_an_unknown_service(tmp_path: Path, settings: Settings) -> None:
    """A change for a service that is not there lists the known."""
    write(tmp_path, "")
    file = settings.changes / "faster" / "change.toml"
    file.write_text(file.read_text().replace('"shop"', '"mail"'))
    with pytest.raises(InvalidInput) as refused:
        validate("faster", settings)
    assert str(refused.value) == "There is no service 'mail'. Expected: One of: shop. A retry is safe."


def test_a_change_that_does_not_fit(refused: Callable[[str], SlipwayError], site: Site) -> None:
    """What does not fit is refused before the service is asked anything."""
    error = refused('[purge]\nroutes = ["/admin"]\n')
    assert error.failed == "The route /admin is outside the service shop."
    assert site.requests == []


def test_a_service_that_does_not_answer(tmp_path: Path, settings: Settings) -> None:
    """A service that is away is Unavailable."""
    with Site() as gone:
        url = gone.url
    text = settings.config.read_text()
    settings.config.write_text(text.replace(text.split('url = "')[1].split('"')[0], url))
    write(tmp_path, PURGE)
    with pytest.raises(Unavailable) as failed:
        validate("faster", settings)
    assert str(failed.value) == (
        "Service shop does not answer GET /health: ConnectError. Expected: An answer within 10 s. A retry is safe."
    )


def test_a_service_that_is_ill(refused: Callable[[str], SlipwayError], site: Site) -> None:
    """A service that answers 500 gets no change, and its cache is not even asked."""
    site.pages["/health"] = Answer("", 500)
    error = refused(PURGE)
    assert str(error) == (
        "Service shop answers /health with 500. Expected: A healthy service before a change. A retry is safe."
    )
    assert site.written() == []


@pytest.mark.parametrize("status", [403, 405])
def test_a_cache_that_refuses(
    refused: Callable[[str], SlipwayError], site: Site, history: History, status: int
) -> None:
    """A cache that would not purge is found out before the database is moved."""
    site.pages[CHECK] = Answer("", status)
    error = refused(MIGRATE.format("0001", "0002") + PURGE)
    assert error.failed == f"The cache refused to purge /.slipway-purge-check: it answered {status}."
    assert error.expected == "Leave to purge; check the token, and the addresses that the cache allows."
    assert error.retry_is_safe
    assert untouched(history)


def test_a_secret_that_is_not_set(refused: Callable[[str], SlipwayError], monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference to a variable that is not set is named before anything is purged."""
    monkeypatch.delenv("TEST_PURGE_TOKEN")
    assert refused(PURGE).failed == "The environment variable TEST_PURGE_TOKEN is not set."


def test_a_database_somewhere_else(refused: Callable[[str], SlipwayError], history: History) -> None:
    """A database that is not where the change begins is told with where it is."""
    error = refused(MIGRATE.format("0002", "0001"))
    assert isinstance(error, InvalidInput)
    assert error.failed == "The database of shop is at 0001, not at 0002."
    assert error.expected == "A database at 0002, from where this change migrates."
    assert untouched(history)


def test_a_revision_that_does_not_exist(refused: Callable[[str], SlipwayError], history: History) -> None:
    """A revision that the service does not have is told in the words of its tool."""
    error = refused(MIGRATE.format("0001", "0009"))
    assert error.failed == (
        "The service's tool knows no migration from 0001 to 0009: FAILED: Can't locate revision identified by '0009'."
    )
    assert error.expected == "Two revisions of the service's own history."
    assert untouched(history)


def test_a_service_without_its_own_environment(
    refused: Callable[[str], SlipwayError],
    settings: Settings,
    history: History,
    forked_alembic: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A migration tool that is not installed where the entry says is told with that place."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # an activated environment of ours would have an Alembic of its own
    settings.config.write_text(settings.config.read_text().replace(str(forked_alembic), ".venv/bin"))
    error = refused(MIGRATE.format("0001", "0002"))
    assert error.failed == "There is no command 'alembic'."
    assert error.expected == (f"It in {history.folder}/.venv/bin; has the service's own environment been set up?")
    assert untouched(history)


def test_a_change_that_requires_a_backfill(
    tmp_path: Path, settings: Settings, history: History, refused: Callable[[str], SlipwayError]
) -> None:
    """Such a change is refused until the backfill has finished with its file of now."""
    history.run("INSERT INTO a VALUES (1)")
    history.run("ALTER TABLE a ADD PRIMARY KEY (id)")
    required = 'requires_backfill = ["fill"]\n'
    (tmp_path / "changes" / "fill").mkdir(parents=True)
    assert refused(required).failed == "There is no backfill 'fill'."
    written = tmp_path / "changes" / "fill" / "backfill.toml"
    head = CHANGE.partition("{parts}")[0] + 'table = "a"\nkey = "id"\n'
    history.run("ALTER TABLE a ADD COLUMN size int")
    written.write_text(head + 'set = { size = "2 * id" }\n')
    assert refused(required).failed == "The backfill fill, which this change requires, has not begun."
    backfill(validate_backfill("fill", settings), settings.changes, lambda _: None, str)
    assert validate("faster", settings).change.requires_backfill == ("fill",)
    written.write_text(head + 'set = { size = "3 * id" }\n')
    assert refused(required).failed == "The backfill fill, which this change requires, was run with another file."
