"""The main job on real parts, from request to record: a kept change, a rolled-back change, and one without a migration."""

import re
import subprocess
from pathlib import Path
from typing import Any

import httpx

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.stack import Stack
from tests.stack.runs import Run, finished, scalar, step_names

INDEX = "SELECT indexdef FROM pg_indexes WHERE indexname = '{}'"


def artifacts(stack: Stack, run: Run) -> dict[str, Any]:
    """Return the Prefect artifacts of a run, by key."""
    query = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    response = httpx.post(f"{stack.prefect_url}/api/artifacts/filter", json=query, trust_env=False)
    return {artifact["key"]: artifact for artifact in response.raise_for_status().json()}


def test_an_improvement_is_kept(kept: Run, shop_database: PostgreSQL) -> None:
    """The run ends as Kept, and the live database is at the new revision with the new index."""
    assert kept["state"]["name"] == "Kept", kept["failures"] or kept["state"]
    assert kept["decision"]["word"] == "keep"
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert "placed_at DESC" in scalar(shop_database, INDEX.format("ix_orders_history"))


def test_every_step_is_listed(kept: Run) -> None:
    """The run lists all steps of the main job in their order, each completed."""
    names = step_names(kept)
    assert names[:7] == [
        "validate",
        "hold the service",
        "inspect headers",
        "measure before",
        "rehearse",
        "migrate",
        "purge and verify after the migration",
    ]
    assert names[-3:] == ["decide", "record", "release the service"]
    assert {step["state"]["type"] for step in kept["steps"]} == {"COMPLETED"}


def test_the_verdict_has_its_numbers(kept: Run) -> None:
    """The whole interval of the signed-in order history improves beyond the margin. The anonymous page does not regress."""
    orders, product = sorted(kept["verdict"]["targets"], key=lambda target: target["route"])
    assert (orders["route"], orders["identity"], orders["cache"], orders["verdict"]) == (
        "/orders",
        "customer",
        "pass",
        "improved",
    )
    assert orders["median"]["low"] < orders["median"]["ratio"] < orders["median"]["high"] < 1 / 1.1
    assert orders["median_after_ms"] < orders["median_before_ms"]
    assert (product["identity"], product["cache"]) == ("anonymous", "hit")
    assert product["verdict"] in ("same", "improved")
    assert {(line["identity"], line["errors"]) for window in kept["measurements"] for line in flat(window)} == {
        ("anonymous", 0),
        ("customer", 0),
    }


def flat(window: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of a measured window, with their route and identity."""
    return [line | line["target"] for line in window["routes"]]


def test_the_rehearsal_was_on_a_copy_of_the_real_size(kept: Run, shop_database: PostgreSQL) -> None:
    """The copy has the live database's size, upgrade and downgrade are timed, and no copy is left."""
    rehearsal = kept["rehearsal"]
    live = scalar(shop_database, "SELECT pg_database_size(current_database())")
    assert 0.5 * live < rehearsal["copy_bytes"] < 2 * live
    assert rehearsal["upgrade_seconds"] > 0
    assert rehearsal["downgrade_seconds"] > 0
    assert scalar(shop_database, "SELECT count(*) FROM pg_database WHERE datname LIKE 'slipway_copy_%'") == 0


def test_the_record_is_one_text_in_three_places(kept: Run, changes: Path, stack: Stack) -> None:
    """The same record is beside the change, in the admin service, and in a Prefect artifact with an inline picture."""
    text = (changes / "order-history-index" / "record.md").read_text(encoding="utf-8")
    shown = artifacts(stack, kept)["record"]["data"]
    assert text == kept["record"]["markdown"]
    assert shown.replace(shown[shown.index("(data:image") : shown.index(")", shown.index("(data:image"))], "(x") == (
        text.replace("(before-after.svg", "(x")
    )
    picture = (changes / "order-history-index" / "before-after.svg").read_text(encoding="utf-8")
    assert picture.startswith(("<?xml", "<svg"))
    assert "/orders as customer" in picture


def test_the_record_is_complete(kept: Run) -> None:
    """The record has owner, expectation, numbers, files from git, commands with times, assumptions and the rollback command."""
    text = kept["record"]["markdown"]
    for part in (
        "# order-history-index: kept",
        "| owner | orders team <orders@example.com> |",
        "| expected | signed-in GET /orders at least 30 % faster at the median |",
        "| measured | /orders as customer: median ",
        "| verdict | improved |",
        "the example changes",
        "- changes/order-history-index/change.toml",
        "| `alembic upgrade 0008` |",
        "The change does not affect the control: /products/1 as customer, /products/2 as anonymous.",
        "    slipway rollback order-history-index",
    ):
        assert part in text


def test_the_run_is_tagged_with_service_and_change(kept: Run, stack: Stack) -> None:
    """The run has its tags in Prefect, and an artifact for each reported step."""
    run = httpx.get(f"{stack.prefect_url}/api/flow_runs/{kept['id']}", trust_env=False).json()
    assert {"service:shop", "change:order-history-index"} <= set(run["tags"])
    assert run["name"] == "ship-change order-history-index"
    assert {"findings-inspect-headers", "measure-before", "measure-after", "judge-once", "record"} <= set(
        artifacts(stack, kept)
    )


def test_no_secret_is_anywhere(kept: Run, rolled_back: Run, stack: Stack, changes: Path) -> None:
    """No secret of the stack is in a run, an artifact, a parameter, a record or a log."""
    places = {str(path): path.read_text(errors="replace") for path in (stack.home / "logs").glob("*.log")}
    places |= {str(path): path.read_text() for path in changes.glob("*/record.md")}
    places |= {
        str(path): path.read_text(errors="replace") for path in (stack.home / "results").rglob("*") if path.is_file()
    }
    for run in (kept, rolled_back):
        places[run["id"]] = str(run)
        places[f"artifacts of {run['id']}"] = str(artifacts(stack, run))
        places[f"logs of {run['id']}"] = logs(stack, run)
    assert len(places) > 12
    for name, secret in stack.secrets.items():
        assert [place for place, text in places.items() if secret in text] == [], f"the secret {name!r} is visible"


def logs(stack: Stack, run: Run) -> str:
    """Return the log lines of a run."""
    query = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
    return httpx.post(f"{stack.prefect_url}/api/logs/filter", json=query, trust_env=False).raise_for_status().text


def test_a_regression_is_rolled_back_automatically(
    rolled_back: Run, schema_before_the_drop: str, shop_database: PostgreSQL
) -> None:
    """After a regression, the database has exactly the earlier revision and schema again."""
    assert rolled_back["state"]["name"] == "RolledBack", rolled_back["failures"] or rolled_back["state"]
    assert rolled_back["verdict"]["verdict"] == "regressed"
    assert rolled_back["verdict"]["targets"][0]["median"]["low"] > 1.1
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert shop_database.schema() == schema_before_the_drop
    assert "'open'" in scalar(shop_database, INDEX.format("ix_orders_open"))


def test_the_latency_recovers_after_the_rollback(rolled_back: Run, stack: Stack) -> None:
    """After the rollback, the route is measured again against its control, and is clearly faster than with the change."""
    restored = artifacts(stack, rolled_back)["judge-restored"]["data"]
    ratio = re.search(r"(\d+\.\d+) \((\d+\.\d+) to (\d+\.\d+) at", restored)
    assert ratio is not None
    assert float(ratio[3]) < rolled_back["verdict"]["targets"][0]["median"]["low"]
    before, after, again = (window_median(rolled_back, f"measure {label}") for label in ("before", "after", "restored"))
    assert after > 2 * before
    assert again < after / 2


def window_median(run: Run, step: str) -> float:
    """Return the median of /account in one window of a run."""
    window = next(window for window in run["measurements"] if window["step"] == step)
    return next(line["median_ms"] for line in flat(window) if line["route"] == "/account")


def test_the_cache_is_purged_again_after_the_rollback(rolled_back: Run) -> None:
    """The route is purged again after the rollback, and the control pages stay in the cache."""
    record = rolled_back["record"]["markdown"]
    again = record[record.index("- Purged again: /account, twice") :]
    assert "  - control /products: first read hit, second hit" in again
    assert "also left the cache" not in record
    assert "The change was rolled back. No action is needed." in record


def test_a_change_without_a_migration_only_purges(refreshed: Run, shop_database: PostgreSQL) -> None:
    """The purged page is read again and stored, the control pages stay in the cache, and the database does not change."""
    assert refreshed["state"]["name"] == "Kept", refreshed["failures"] or refreshed["decision"]
    record = refreshed["record"]["markdown"]
    assert "- Migrated: nothing; the change has no migration." in record
    assert "  - affected /products: first read miss, second hit" in record
    assert "  - control /products/2: first read hit, second hit" in record
    assert refreshed["rehearsal"]["reversibility"] == "nothing to migrate"
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"


def test_a_repeated_rollback_has_nothing_to_do(
    refreshed: Run, kept: Run, stack: Stack, client: AdminClient, shop_database: PostgreSQL, changes: Path
) -> None:
    """`make rollback` downgrades the database. A second rollback over HTTP has nothing to do. The record lists both."""
    command = ["make", "rollback", "CHANGE=order-history-index"]
    result = subprocess.run(command, env=stack.environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "roll-back-change order-history-index: RolledBack" in result.stdout
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0007"
    assert scalar(shop_database, INDEX.format("ix_orders_history")) is None

    again = finished(client, client.roll_back(kept["id"]))
    assert again["job"] == "roll-back-change"
    assert again["state"]["name"] == "RolledBack"
    assert again["state"]["message"] == "no action was needed: the database is already at revision 0007."
    record = (changes / "order-history-index" / "record.md").read_text(encoding="utf-8")
    assert record.count("## Rolled back later: run ") == 2
    assert "- Rolled back: the database moved from revision 0008 to 0007." in record
