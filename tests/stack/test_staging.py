"""A change that must be kept and rolled back on staging before it ships to production, on the running stack."""

import shutil
from pathlib import Path

import pytest

from slipway.client.http import AdminClient
from slipway.deployments.stack import Stack
from tests.stack.runs import finished, step_names

NAME = "refresh-live"


@pytest.fixture(scope="module")
def change(at_0008: None, changes: Path) -> Path:
    """Create a change for `shop-live`, whose staging service is `shop-quick`."""
    folder = changes / NAME
    shutil.copytree(changes / "refresh-catalogue", folder, ignore=shutil.ignore_patterns("record*.md", "*.svg"))
    file = folder / "change.toml"
    policy = file.read_text(encoding="utf-8")
    assert '"shop"' in policy and policy.rstrip().endswith('require = "not-regressed"')
    file.write_text(policy.replace('"shop"', '"shop-live"', 1), encoding="utf-8")
    return folder


def test_a_change_must_pass_staging_before_production(change: Path, stack: Stack, client: AdminClient) -> None:
    """Production refuses the change until staging has kept it and rolled it back. Then the record links both runs."""
    refused = finished(client, client.start("ship-change", {"change": NAME}))
    assert refused["state"]["name"] == "Failed"
    assert refused["failures"][0]["failed"] == f"{NAME} has not been kept on shop-quick. Nothing was changed."
    assert step_names(refused) == ["validate", "hold the service", "look at staging", "release the service"]

    kept = finished(client, client.start("ship-change", {"change": NAME, "staging": True}))
    assert (kept["state"]["name"], kept["service"]) == ("Kept", "shop-quick"), kept["state"]
    assert kept["record"]["path"] == f"changes/{NAME}/record.staging.md"
    assert f"    slipway rollback {NAME} --staging" in kept["record"]["markdown"]
    half = finished(client, client.start("ship-change", {"change": NAME}))
    assert half["failures"][0]["failed"] == (
        f"Run {kept['id']} on shop-quick kept the change, but it has not been rolled back there. Nothing was changed."
    )

    back = finished(client, client.roll_back(kept["id"]))
    assert (back["state"]["name"], back["service"]) == ("RolledBack", "shop-quick")
    assert "Rolled back later" in (change / "record.staging.md").read_text(encoding="utf-8")
    assert not (change / "record.md").exists()

    shipped = finished(client, client.start("ship-change", {"change": NAME}))
    assert (shipped["state"]["name"], shipped["service"]) == ("Kept", "shop-live"), shipped["state"]
    record = (change / "record.md").read_text(encoding="utf-8")
    assert f"| staging | kept on shop-quick by run {kept['id']}, " in record
    assert f"; rolled back there by run {back['id']}, " in record


def test_a_service_without_staging_refuses_a_staging_run(at_0008: None, client: AdminClient) -> None:
    """The API refuses a staging run of a service without a staging service."""
    with pytest.raises(Exception, match=r"Service shop has no staging service\."):
        client.start("ship-change", {"change": "refresh-catalogue", "staging": True})
