"""The end of a run when the rollback, the resume, the record or the approval fails: with a clear state and the fix."""

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
from tests.paced import LatencyProxy
from tests.stack.runs import Run, finished, scalar, step_names, wait_for_approval

Derive = Callable[..., str]


@pytest.fixture(scope="module")
def derive(at_0008: None, changes: Path) -> Derive:
    """Return a function that creates a change like the one that drops an index in use, for a service with short windows."""

    def make(name: str, *lines: str) -> str:
        folder = changes / name
        shutil.copytree(changes / "drop-open-orders-index", folder, ignore=shutil.ignore_patterns("record.md", "*.svg"))
        file = folder / "change.toml"
        policy = re.sub(r'service\s*= "shop"', 'service = "shop-quick"', file.read_text(encoding="utf-8"))
        file.write_text("\n".join([*lines, policy]), encoding="utf-8")
        return name

    return make


def execute(database: PostgreSQL, *statements: str) -> None:
    """Change a database without Slipway."""
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def count_service_locks(stack: Stack) -> int:
    """Return the number of service locks."""
    return int(scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold"))


def test_a_failed_rollback_names_the_command_to_repeat_it(
    derive: Derive, stack: Stack, client: AdminClient, shop_database: PostgreSQL
) -> None:
    """The run's state reports the failure and names a command. This command then rolls the change back."""
    name = derive("no-way-back", 'approval = "none"')
    before = shop_database.schema()
    execute(  # the rehearsal's copy has the trigger too, but the trigger allows the index there
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
    message = ended["state"]["message"]
    assert message.startswith(f"THE ROLLBACK OF {name} FAILED on shop-quick. ")
    assert "no room for an index" in message
    assert message.endswith(f"slipway rollback {name}")
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0009"
    assert count_service_locks(stack) == 0
    repeated = finished(client, client.start("roll-back-change", {"change": name}))
    assert repeated["state"]["name"] == "RolledBack"
    assert shop_database.schema() == before


def test_a_run_that_keeps_crashing_gives_up(
    derive: Derive, stack: Stack, client: AdminClient, front: LatencyProxy, until: Callable[[Run, str], Run]
) -> None:
    """After the last resume, the run only reports the state of the service and releases the service lock."""
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
    assert count_service_locks(stack) == 0


def test_a_missing_record_ends_as_not_recorded(
    derive: Derive, stack: Stack, client: AdminClient, changes: Path
) -> None:
    """The change is rolled back, and the run reports that only the record is missing."""
    name = derive("no-record")
    (changes / name / "record.md").mkdir()
    ended = finished(client, client.start("roll-back-change", {"change": name}))
    (changes / name / "record.md").rmdir()
    assert (ended["state"]["type"], ended["state"]["name"]) == ("FAILED", "NotRecorded")
    assert ended["state"]["message"].startswith("RolledBack, but the record was not written: ")
    assert "0008" in ended["state"]["message"]
    assert count_service_locks(stack) == 0


def test_the_service_lock_of_a_lost_run_is_released(derive: Derive, stack: Stack, client: AdminClient) -> None:
    """The next run releases the service lock of a run that is gone, logs that, and continues."""
    store = PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"])
    lost = uuid.uuid4()
    execute(store, f"INSERT INTO hold (service, run_id, change) VALUES ('shop-quick', '{lost}', 'long-ago')")
    run = finished(client, client.start("roll-back-change", {"change": derive("behind-a-lost-hold")}))
    assert run["state"]["name"] == "RolledBack"
    assert (
        f"Released the service lock of shop-quick: run {lost} has ended"
        in (stack.home / "logs" / "worker.log").read_text()
    )
    assert count_service_locks(stack) == 0


@pytest.mark.parametrize("answer", ["nobody", "no"])
def test_a_run_without_approval_is_rejected(
    answer: str,
    derive: Derive,
    stack: Stack,
    client: AdminClient,
    approver: AdminClient,
    changes: Path,
    shop_database: PostgreSQL,
) -> None:
    """Without an approval in time, the run is rejected and changes nothing. The record states who rejected it, and why."""
    hours = 0.0001 if answer == "nobody" else 1
    name = derive(f"answered-by-{answer}", 'approval = "required"', f"approval_within_h = {hours}")
    run = client.start("ship-change", {"change": name})
    expected = "Slipway: Nobody answered in time."
    if answer == "no":
        wait_for_approval(client, run)
        approver.act(run["id"], "reject", "not on a Friday.")
        expected = "grace: not on a Friday."
    ended = finished(client, run)
    assert (ended["state"]["type"], ended["state"]["name"]) == ("CANCELLED", "Rejected")
    assert ended["state"]["message"] == f"Rejected by {expected} Nothing was changed."
    assert f"| approval | rejected by {expected} |" in (changes / name / "record.md").read_text(encoding="utf-8")
    assert "migrate" not in step_names(ended)
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert count_service_locks(stack) == 0


def test_rehearse_change_ships_nothing(
    derive: Derive, stack: Stack, client: AdminClient, shop_database: PostgreSQL
) -> None:
    """The job rehearses with all checks of a shipment, reports the reversibility of the rollback, and ships nothing."""
    before = shop_database.schema()
    ended = finished(client, client.start("rehearse-change", {"change": derive("only-rehearsed")}))
    assert (ended["state"]["type"], ended["state"]["name"]) == ("COMPLETED", "Rehearsed")
    assert ended["state"]["message"].startswith("The downgrade is lossless: the schema and all 125,0")
    assert ended["rehearsal"]["reversibility"] == "lossless"
    assert [command["argv"][1] for command in ended["rehearsal"]["commands"]] == ["upgrade", "downgrade", "upgrade"]
    assert shop_database.schema() == before
    assert count_service_locks(stack) == 0


def test_a_measurement_can_be_cancelled(
    at_0008: None, client: AdminClient, front: LatencyProxy, until: Callable[[Run, str], Run]
) -> None:
    """A job without a service lock can be cancelled too."""
    with front.hold("/account", signed_in=True):  # the page that shows the sign-in
        run = client.start("measure-service", {"service": "shop"})
        until(run, "measure service")
        client.act(run["id"], "cancel", "too loud")
    ended = finished(client, run)
    assert ended["state"]["name"] == "Cancelled"
    assert ended["state"]["message"] == "Cancelled by ada: too loud. Nothing was changed."
