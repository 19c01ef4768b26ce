"""Rehearse on a copy, migrate the live database, and roll back, with a real PostgreSQL and the real Alembic."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import URL, make_url

from slipway.config.change import Rehearse
from slipway.config.service import Serve
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.settings import EnvironmentReference
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.postgres import create_database, drop_database, url_on
from slipway.migrations.migrate import migrate, migrate_back
from slipway.migrations.outcomes import Rehearsal
from slipway.migrations.rehearse import digest, rehearse
from slipway.migrations.roll_back import roll_back
from slipway.shipping.rehearsal_report import report
from tests.histories import BIN, VARIABLE, History, Move, plan_of
from tests.sites import Answer, Site

FIRST: Move = ("CREATE TABLE a (id int PRIMARY KEY, note text)", "DROP TABLE a")
INDEX: Move = ("CREATE INDEX a_note ON a (note)", "DROP INDEX a_note")
BROKEN: Move = ("CREATE TABLE b (id int); SELECT 1 / 0", "DROP TABLE b")
STUCK: Move = ("CREATE TABLE b (id int)", "SELECT 1 / 0")
LOSSY: Move = ("ALTER TABLE a DROP COLUMN note", "ALTER TABLE a ADD COLUMN note varchar(40)")
NOTES_GONE = "public.a.note: 100 values before, 0 after"
ONE_WAY: Move = ("CREATE TABLE b (id int)", "")

Make = Callable[..., History]


@pytest.fixture
def make(tmp_path: Path, database: str, forked_alembic: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a history whose live database is at its first revision, with rows."""
    monkeypatch.setenv(VARIABLE, database)

    def build(*moves: Move) -> History:
        history = History(tmp_path, database, [FIRST, *moves], forked_alembic)
        history.set_revision("0001")
        history.run("INSERT INTO a SELECT n, 'note ' || n FROM generate_series(1, 100) AS n")
        return history

    return build


def state(history: History) -> tuple[str, str, set[str]]:
    """Return what a rehearsal must not change: the live schema and version, and the server's databases."""
    return history.live.schema(), history.version(), history.databases()


def refusal(history: History, start: str = "0001", to: str = "0002") -> SlipwayError:
    """Return the error of a rehearsal, and assert that nothing changed."""
    before = state(history)
    with pytest.raises(SlipwayError) as failed:
        rehearse(history.plan(start, to), history.folder)
    assert state(history) == before
    assert failed.value.retry_is_safe
    return failed.value


def test_a_reversible_change_is_rehearsed_as_lossless(make: Make) -> None:
    """Upgrade and downgrade run on a copy with their times; the live database and the server are unchanged."""
    history = make(INDEX)
    before = state(history)
    rehearsal = rehearse(history.plan("0001", "0002"), history.folder)
    assert rehearsal.reversibility == "lossless"
    assert [run.argv for run in rehearsal.commands] == [
        ("alembic", "upgrade", "0002"),
        ("alembic", "downgrade", "0001"),
        ("alembic", "upgrade", "0002"),
    ]
    assert (rehearsal.losses, rehearsal.rows) == ((), 101)
    assert [finding.code for finding in rehearsal.findings] == ["busiest-queries-not-checked", "old-code-not-checked"]
    assert rehearsal.schema_at_start == digest(history.live.schema()) != rehearsal.schema_at_end
    assert rehearsal.copy_bytes > 1_000_000
    assert min(rehearsal.copy_seconds, rehearsal.upgrade_seconds, rehearsal.downgrade_seconds) > 0
    assert state(history) == before


def test_an_upgrade_that_fails_on_the_copy_stops_the_rehearsal(make: Make) -> None:
    """The error names the revision of the copy, and says that nothing live was changed."""
    error = refusal(make(BROKEN))
    assert error.failed == (
        "The upgrade failed on the copy of the live database: `alembic upgrade 0002` exited with 1: "
        "sqlalchemy.exc.DataError: (psycopg.errors.DivisionByZero) division by zero. "
        "The database is still at revision 0001. Nothing live was changed."
    )
    assert error.expected == "The command exits with 0 at the requested revision."


@pytest.mark.parametrize(
    ("move", "reversibility", "losses"),
    [
        pytest.param(INDEX, "lossless", [], id="index"),
        pytest.param(
            ("ALTER TABLE a ADD COLUMN size int DEFAULT 3", "ALTER TABLE a DROP COLUMN size"),
            "lossless",
            [],
            id="column",
        ),
        pytest.param(
            ("UPDATE a SET note = upper(note)", "UPDATE a SET note = lower(note)"),
            "lossless",
            [],
            id="data there and back",
        ),
        pytest.param(
            ("CREATE TABLE b AS SELECT * FROM a; DELETE FROM a", "INSERT INTO a SELECT * FROM b; DROP TABLE b"),
            "lossless",
            [],
            id="rows moved there and back",
        ),
        pytest.param(
            LOSSY, "lossy", ["-    note text", "+    note character varying(40)", NOTES_GONE], id="column dropped"
        ),
        pytest.param(
            ("UPDATE a SET note = 'x'", "UPDATE a SET note = note || id"),
            "lossy",
            ["public.a.note: values differ, 100 in 100 rows"],
            id="values overwritten",
        ),
        pytest.param(
            ("UPDATE a SET note = CASE id WHEN 1 THEN 'note 2' WHEN 2 THEN 'note 1' ELSE note END", "SELECT 1"),
            "does nothing",
            ["public.a.note: values differ, 100 in 100 rows"],
            id="two values changed places",
        ),
        pytest.param(
            ("DELETE FROM a WHERE id > 90", ""),
            "does nothing",
            ["public.a: 100 rows before, 90 after"],
            id="rows deleted",
        ),
        pytest.param(
            ("UPDATE a SET note = NULL WHERE id <= 40", "UPDATE a SET note = '?' WHERE id = 1"),
            "lossy",
            ["public.a.note: 100 values before, 61 after"],
            id="values erased",
        ),
        pytest.param(
            ONE_WAY,
            "does nothing",
            ["+CREATE TABLE public.b (", "+    id integer", "+);"],
            id="empty downgrade of a table",
        ),
        pytest.param(
            STUCK,
            "fails",
            [
                "`alembic downgrade 0001` exited with 1: sqlalchemy.exc.DataError: (psycopg.errors.DivisionByZero) "
                "division by zero. The database is still at revision 0002."
            ],
            id="downgrade fails",
        ),
    ],
)
def test_the_reversibility_of_a_downgrade(make: Make, move: Move, reversibility: str, losses: list[str]) -> None:
    """The downgrade is judged by schema and rows, and each loss is listed; the live database is unchanged."""
    history = make(move)
    before = state(history)
    rehearsal = rehearse(history.plan("0001", "0002"), history.folder)
    assert (rehearsal.reversibility, list(rehearsal.losses)) == (reversibility, losses)
    codes = [] if reversibility == "lossless" else [f"way-back-{reversibility.replace(' ', '-')}"]
    assert [finding.code for finding in rehearsal.findings if finding.level == "warning"] == codes
    assert state(history) == before


def test_an_upgrade_that_cannot_be_repeated(make: Make) -> None:
    """A downgrade fails the rehearsal if the next upgrade fails over an object that the downgrade did not drop."""
    history = make(("CREATE TABLE b (id int); CREATE SEQUENCE s", "DROP TABLE b"))
    rehearsal = rehearse(history.plan("0001", "0002"), history.folder)
    assert rehearsal.reversibility == "fails"
    assert "The second upgrade, after the downgrade, failed: " in rehearsal.losses[-1]


@pytest.mark.parametrize("move", [BROKEN, STUCK], ids=["upgrade", "downgrade"])
def test_a_failure_during_a_server_restart_is_unavailable(
    make: Make, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure during a restart of the server says nothing about the change, so the rehearsal is retried."""
    history = make(move)
    before = state(history)
    starts = (f"start {number}" for number in count())
    monkeypatch.setattr(PostgreSQL, "server_started", lambda _: next(starts))
    with pytest.raises(Unavailable) as failed:
        rehearse(history.plan("0001", "0002"), history.folder)
    assert failed.value.failed == "The database of shop was restarted."
    assert state(history) == before


def test_a_tool_that_ignores_the_variable_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that always connects to the live database is detected before it migrates."""
    history = make(INDEX)
    before = state(history)
    env = history.folder / "migrations" / "env.py"
    live = history.live.connection_url()
    env.write_text(
        f"import os\nos.environ['DATABASE_URL'] = {live!r}\n" + env.read_text(encoding="utf-8"), encoding="utf-8"
    )
    with pytest.raises(SlipwayError) as refused:
        rehearse(history.plan("0001", "0002"), history.folder)
    assert refused.value.failed == (
        "`alembic current` reports revision 0001 for an empty database. The command ignores the variable DATABASE_URL and "
        "would change a database other than the copy. Nothing was changed."
    )
    assert state(history) == before


def test_a_copy_without_disk_space_is_not_started(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the needed and the free disk space."""
    history = make(INDEX)
    before = state(history)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    too_small = r"There is not enough disk space for the dump.* of .*: \d+ MB are needed, 1 MB are free\."
    with pytest.raises(SlipwayError, match=too_small):
        rehearse(history.plan("0001", "0002"), history.folder)
    assert state(history) == before


def test_a_copy_that_takes_too_long_is_not_started(make: Make) -> None:
    """A copy that would take longer than copy_within_s is not started."""
    history = make(INDEX)
    before, plan = state(history), history.plan("0001", "0002")
    assert plan.service.database is not None
    limited = plan.service.database.model_copy(update={"copy_within_s": 0.1})
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"database": limited})})
    with pytest.raises(SlipwayError, match=r"would take about 0\.[12] s\. Nothing was copied\.") as refused:
        rehearse(plan, history.folder)
    assert refused.value.expected == (
        "A copy takes at most 0.1 s (copy_within_s in [service.database]). Raise the limit, or set `clone`."
    )
    assert state(history) == before


def test_migrate_and_roll_back_can_be_repeated(make: Make) -> None:
    """The rollback restores the schema and rows; a repeated migration or rollback does nothing."""
    history = make(INDEX)
    history.bin_folder = BIN  # Alembic itself, not in a fork
    plan, before = history.plan("0001", "0002"), state(history)

    moved, again = migrate(plan, history.folder), migrate(plan, history.folder)
    assert moved is not None and (moved.before, moved.after, moved.acted) == ("0001", "0002", True)
    assert [run.argv[1:] for run in moved.commands] == [("current",), ("upgrade", "0002"), ("current",)]
    assert again is not None and (again.before, again.after, again.acted) == ("0002", "0002", False)
    assert [run.argv[1:] for run in again.commands] == [("current",)]
    assert history.version() == "0002" and "CREATE INDEX a_note" in history.live.schema()

    back, again_back = roll_back(plan, history.folder), roll_back(plan, history.folder)
    assert back.sentence == "the database moved from revision 0002 to 0001."
    assert back.migration is not None and back.migration.acted
    assert again_back.sentence == "no action was needed: the database is already at revision 0001."
    assert again_back.migration is not None and not again_back.migration.acted
    assert state(history) == before
    assert history.run("SELECT count(*) FROM a") == [(100,)]


def test_a_database_at_another_revision_is_not_migrated(make: Make) -> None:
    """The error names the database's revision and both revisions of the change."""
    history = make(INDEX, LOSSY)
    before = state(history)
    for move in (migrate, migrate_back):
        with pytest.raises(SlipwayError) as failed:
            move(history.plan("0002", "0003"), history.folder)
        assert failed.value.retry_is_safe
        assert state(history) == before
    assert failed.value.failed == (
        "The database of shop is at revision 0001, but faster migrates it from 0003 to 0002."
    )
    assert failed.value.expected == "The database is at revision 0003, or already at 0002."


def test_a_failed_live_migration_that_changed_nothing_is_safe_to_retry(make: Make) -> None:
    """The error says that the database is still at its revision."""
    history = make(BROKEN)
    before = state(history)
    with pytest.raises(SlipwayError) as failed:
        migrate(history.plan("0001", "0002"), history.folder)
    assert failed.value.failed.startswith("`alembic upgrade 0002` exited with 1: ")
    assert failed.value.failed.endswith(" The database is still at revision 0001.")
    assert failed.value.expected == "The command exits with 0 at the requested revision."
    assert failed.value.retry_is_safe
    assert state(history) == before


def test_a_live_migration_that_stops_between_two_revisions_is_not_retried(make: Make) -> None:
    """The error names the revision that was reached, and a retry is not safe."""
    history = make(INDEX, BROKEN)
    with pytest.raises(SlipwayError) as failed:
        migrate(history.plan("0001", "0003"), history.folder)
    assert failed.value.failed.endswith(" The database was at revision 0001 and is now at 0002.")
    assert not failed.value.retry_is_safe
    assert history.version() == "0002"


def test_without_a_migration_nothing_is_done(make: Make) -> None:
    """A change without a migration is rehearsed, migrated and rolled back without a database connection."""
    history = make()
    plan = plan_of(history.service())
    assert rehearse(plan, history.folder) == Rehearsal(reversibility="nothing to migrate")
    assert migrate(plan, history.folder) is None
    assert roll_back(plan, history.folder).sentence == "no action was needed: the change has no migration."


def test_the_report_lists_statements_dangerous_sql_and_lost_indexes(make: Make) -> None:
    """The report contains each statement with rows and locks, dangerous SQL, and a query that lost its index."""
    history = make(
        (
            "CREATE INDEX a_again ON a (id); DROP INDEX a_note; UPDATE a SET size = 2",
            "DROP INDEX a_again; CREATE INDEX a_note ON a (note); UPDATE a SET size = 1",
        )
    )
    history.run("ALTER TABLE a ADD COLUMN size int NOT NULL DEFAULT 1")
    history.run("CREATE INDEX a_note ON a (note)")
    history.run("INSERT INTO a SELECT n, 'note ' || n FROM generate_series(101, 120000) AS n")
    plan = history.plan("0001", "0002")
    section = Rehearse(queries=("SELECT * FROM a WHERE note = $1",))
    sql = history.tool().sql("0001", "0002")
    plan = plan.model_copy(
        update={"change": plan.change.model_copy(update={"rehearse": section}), "migration_sql": sql}
    )
    rehearsal = rehearse(plan, history.folder)
    findings = {finding.code: finding for finding in rehearsal.findings}
    assert rehearsal.reversibility == "lossless", rehearsal.losses
    assert findings["plan-seq-scan"].level == "error"
    assert findings["plan-seq-scan"].summary.startswith("SELECT * FROM a WHERE note = $1 reads all ")
    assert {"sql-no-where", "squawk-require-concurrent-index-creation"} <= set(findings)
    assert any("a_again" in finding.summary for code, finding in findings.items() if code.startswith("index-"))
    [update] = [statement for statement in rehearsal.statements if "UPDATE a SET size" in statement.sql]
    assert update.rows == 120_000
    assert "a" in {lock.table for statement in rehearsal.statements for lock in statement.locks}
    assert "UPDATE a SET size = 2` | 1 |" in report(rehearsal)


def test_a_clone_is_used_unless_it_is_the_live_database(
    make: Make, postgres: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied; a clone that is the live database under another host name is refused."""
    history = make(INDEX)
    name = f"clone_{history.live.name}"
    create_database(postgres, name)
    plan = history.plan("0001", "0002")
    monkeypatch.setenv("CLONE_URL", url_on(postgres, name))
    database = plan.service.database.model_copy(update={"clone": EnvironmentReference(env="CLONE_URL")})
    plan = plan.model_copy(update={"service": plan.service.model_copy(update={"database": database})})
    try:
        with pytest.raises(
            SlipwayError, match=r"The copy is at revision base, not at 0001\. Nothing live was changed\."
        ):
            rehearse(plan, history.folder)
        clone = History(history.folder / "clone", url_on(postgres, name), [FIRST, INDEX])
        clone.set_revision("0001")
        before = state(history)
        assert rehearse(plan, history.folder).reversibility == "lossless"
        assert (clone.version(), state(history)) == ("0002", before)
        alias = make_url(history.live.connection_url()).set(host="localhost").render_as_string(hide_password=False)
        monkeypatch.setenv("CLONE_URL", alias)
        with pytest.raises(SlipwayError, match=r"is the live database itself\. Nothing was changed\."):
            rehearse(plan, history.folder)
        assert state(history) == before
    finally:
        drop_database(postgres, name)


SERVICE = """
import http.server, os, psycopg, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            with psycopg.connect(os.environ["DATABASE_URL"].replace("+psycopg", "")) as connection:
                connection.execute("SELECT note FROM a LIMIT 1") if self.path != "/health" else None
            self.send_response(200)
        except psycopg.Error:
            self.send_response(500)
        self.end_headers()
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.mark.parametrize(
    ("move", "command", "messages"),
    [
        pytest.param(INDEX, ("python", "service.py", "{port}"), [], id="fits"),
        pytest.param(
            ("ALTER TABLE a RENAME note TO words", "ALTER TABLE a RENAME words TO note"),
            ("python", "service.py", "{port}"),
            [
                f"/products/{number} as anonymous: 500 on the migrated copy, 200 on the live service."
                for number in (1, 2)
            ],
            id="breaks",
        ),
        pytest.param(
            INDEX,
            ("python", "-c", "import sys; sys.exit('no such module')", "{port}"),
            [
                "The service does not start on the migrated copy: The service exited with 1 before it answered on the "
                "migrated copy: no such module"
            ],
            id="does not start",
        ),
    ],
)
def test_the_current_code_is_checked_with_the_new_schema(
    make: Make, site: Site, move: Move, command: tuple[str, ...], messages: list[str]
) -> None:
    """The service is started on the migrated copy; a route that fails there is an error, and no process remains."""
    history = make(move)
    (history.folder / "service.py").write_text(SERVICE, encoding="utf-8")
    site.pages |= {"/products/1": Answer(), "/products/2": Answer()}
    plan = history.plan("0001", "0002")
    serve = Serve(command=command, bin=str(BIN), within_s=300)
    service = plan.service.model_copy(update={"url": site.url, "serve": serve})
    rehearsal = rehearse(plan.model_copy(update={"service": service}), history.folder)
    findings = [finding for finding in rehearsal.findings if finding.code != "busiest-queries-not-checked"]
    assert [finding.summary for finding in findings] == messages
    assert {finding.code for finding in findings} <= {"old-code-breaks"}
    processes = [process.info for process in psutil.process_iter(["cmdline", "cwd"])]
    assert not [process for process in processes if process["cwd"] == str(history.folder)]
