"""How a run ends when the way on, the way back, the record or a person is missing: loudly, and with what to do."""

import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.stack import Stack
from slipway.runs.attempts import MAX_RESUMES
from tests.crash.killing import kill_flow
from tests.paced import Paced
from tests.stack.runs import Run, finished, scalar, step_names, wait_for_approval

Derive = Callable[..., str]


@pytest.fixture(scope="module")
def derive(at_0008: None, changes: Path) -> Derive:
    """Make a change like the one that drops an index in use, for the shop that is measured for a shorter time."""

    def make(name: str, *lines: str) -> str:
        folder = changes / name
        shutil.copytree(changes / "drop-open-orders-index", folder, ignore=shutil.ignore_patterns("record.md", "*.svg"))
        file = folder / "change.toml"
        written = re.sub(r'service\s*= "shop"', 'service = "shop-quick"', file.read_text(encoding="utf-8"))
        file.write_text("\n".join([*lines, written]), encoding="utf-8")
        return name

    return make


def execute(database: PostgreSQL, *statements: str) -> None:
    """Change a database behind Slipway's back."""
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def held(stack: Stack) -> int:
    """How many services are held."""
    return int(scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold"))


def test_a_roll_back_that_fails(derive: Derive, stack: Stack, client: AdminClient, shop_database: PostgreSQL) -> None:
    """The run ends in a state that says so and names the command, and that command then rolls the service back."""
    name = derive("no-way-back", 'approval = "none"')
    before = shop_database.schema()
    execute(  # the copy that is rehearsed on has the trigger too, and lets the index be created
        shop_database,
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF current_database() !~ '^slipway_copy_' THEN RAISE EXCEPTION 'no room for an index'; END IF; END $$",
        "CREATE EVENT TRIGGER no_index ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION refuse()",
    )
    try:
        ended = finished(client, client.start("ship-change", {"change": name}))
    finally:
        execute(shop_database, "DROP EVENT TRIGGER no_index", "DROP FUNCTION refuse")
    assert (ended["state"]["type"], ended["state"]["name"]) == ("FAILED", "RollBackFailed")
    said = ended["state"]["message"]
    assert said.startswith(f"THE ROLL BACK OF {name} FAILED on shop-quick. ")
    assert "no room for an index" in said
    assert said.endswith(f"slipway rollback {name}")
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0009"
    assert held(stack) == 0
    by_hand = finished(client, client.start("roll-back-change", {"change": name}))
    assert by_hand["state"]["name"] == "RolledBack"
    assert shop_database.schema() == before


def test_a_run_that_keeps_crashing_gives_up(
    derive: Derive, stack: Stack, client: AdminClient, front: Paced, until: Callable[[Run, str], Run]
) -> None:
    """After the last resume it only looks where the service stands, says so, and gives the service free."""
    name = derive("crashes-for-ever")
    store = PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"])
    with front.hold("/account", signed_in=False):
        run = client.start("roll-back-change", {"change": name})
        until(run, "purge and verify after the roll back")
        execute(store, f"UPDATE attempt SET resumes = {MAX_RESUMES - 1} WHERE run_id = '{run['id']}'")
        kill_flow(stack, run)
    ended = finished(client, run)
    assert (ended["state"]["type"], ended["state"]["name"]) == ("FAILED", "GaveUp")
    assert ended["state"]["message"].startswith(f"The run crashed {MAX_RESUMES} times and was not resumed again. ")
    assert "0008" in ended["state"]["message"]
    assert ended["state"]["message"].endswith(f"slipway rollback {name}")
    assert held(stack) == 0


def test_a_record_that_cannot_be_written(derive: Derive, stack: Stack, client: AdminClient, changes: Path) -> None:
    """The service is back, and the run says that only the record is missing."""
    name = derive("no-record")
    (changes / name / "record.md").mkdir()
    ended = finished(client, client.start("roll-back-change", {"change": name}))
    (changes / name / "record.md").rmdir()
    assert (ended["state"]["type"], ended["state"]["name"]) == ("FAILED", "NotRecorded")
    assert ended["state"]["message"].startswith("RolledBack, without a record: ")
    assert "0008" in ended["state"]["message"]
    assert held(stack) == 0


def test_a_hold_whose_run_is_gone(derive: Derive, stack: Stack, client: AdminClient) -> None:
    """A hold never outlives its run for good: the next run finds it, releases it, says so, and goes on."""
    store = PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"])
    lost = uuid.uuid4()
    execute(store, f"INSERT INTO hold (service, run_id, change) VALUES ('shop-quick', '{lost}', 'long-ago')")
    run = finished(client, client.start("roll-back-change", {"change": derive("behind-a-lost-hold")}))
    assert run["state"]["name"] == "RolledBack"
    assert f"released the hold of shop-quick: run {lost} has ended" in (stack.home / "logs" / "worker.log").read_text()
    assert held(stack) == 0


@pytest.mark.parametrize("answer", ["nobody", "no"])
def test_an_approval_that_is_not_given(
    answer: str,
    derive: Derive,
    stack: Stack,
    client: AdminClient,
    approver: AdminClient,
    changes: Path,
    shop_database: PostgreSQL,
) -> None:
    """Nobody's answer in time is a no: the run ends as rejected, changes nothing, and the record says who and why."""
    hours = 0.0001 if answer == "nobody" else 1
    name = derive(f"answered-by-{answer}", 'approval = "required"', f"approval_within_h = {hours}")
    run = client.start("ship-change", {"change": name})
    expected = "Slipway: Nobody answered in time."
    if answer == "no":
        wait_for_approval(client, run)
        approver.say(run["id"], "reject", "not on a Friday.")
        expected = "grace: not on a Friday."
    ended = finished(client, run)
    assert (ended["state"]["type"], ended["state"]["name"]) == ("CANCELLED", "Rejected")
    assert ended["state"]["message"] == f"Rejected by {expected} Nothing was changed."
    assert f"| approval | rejected by {expected} |" in (changes / name / "record.md").read_text(encoding="utf-8")
    assert "migrate" not in step_names(ended)
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert held(stack) == 0


def test_rehearsing_alone(derive: Derive, stack: Stack, client: AdminClient, shop_database: PostgreSQL) -> None:
    """The job rehearses with everything that a shipment would look at, says what the way back is worth, and ships nothing."""
    before = shop_database.schema()
    ended = finished(client, client.start("rehearse-change", {"change": derive("only-rehearsed")}))
    assert (ended["state"]["type"], ended["state"]["name"]) == ("COMPLETED", "Rehearsed")
    assert ended["state"]["message"].startswith("The way back is lossless: the schema and all 125,0")
    assert ended["rehearsal"]["reversibility"] == "lossless"
    assert [ran["argv"][1] for ran in ended["rehearsal"]["commands"]] == ["upgrade", "downgrade", "upgrade"]
    assert shop_database.schema() == before
    assert held(stack) == 0


def test_cancelling_a_measurement(
    at_0008: None, client: AdminClient, front: Paced, until: Callable[[Run, str], Run]
) -> None:
    """A job that holds no service can be cancelled too."""
    with front.hold("/account", signed_in=True):  # the page that shows the sign-in
        run = client.start("measure-service", {"service": "shop"})
        until(run, "measure service")
        client.say(run["id"], "cancel", "too loud")
    ended = finished(client, run)
    assert ended["state"]["name"] == "Cancelled"
    assert ended["state"]["message"] == "Cancelled by ada: too loud. Nothing had been changed."
