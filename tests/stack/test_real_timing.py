"""One change with real latencies. Its verdict is not known in advance, but each verdict has a known decision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.measurement.judge import WORST_FIRST
from tests.stack.conftest import ROOT
from tests.stack.runs import Run, finished, scalar

NAME = "drop-with-real-latencies"
ENDINGS = {"keep": "Kept", "roll back": "RolledBack", "freeze": "Frozen"}
REVISIONS = {"keep": "0009", "roll back": "0008", "freeze": "0009"}


@pytest.fixture(scope="module")
def shipped(at_0008: None, changes: Path, client: AdminClient) -> Run:
    """Return the run of an example change on the shop without the latency proxy."""
    shutil.copytree(ROOT / "changes" / "drop-open-orders-index", changes / NAME, ignore=shutil.ignore_patterns("*.svg"))
    file = changes / NAME / "change.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('"shop"', '"shop-real"'), encoding="utf-8")
    return finished(client, client.start("ship-change", {"change": NAME}))


def test_the_decision_follows_from_the_verdict(shipped: Run, shop_database: PostgreSQL) -> None:
    """A change is kept only without a regression, and rolled back only with one. The revision matches the decision."""
    assert shipped["failures"] == []
    verdict, decision = shipped["verdict"], shipped["decision"]["word"]
    expected = {"regressed": "roll back", "inconclusive": "freeze", "environment-shift": "freeze"}
    assert decision == expected.get(verdict["verdict"], "keep")
    assert shipped["state"]["name"] == ENDINGS[decision]
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == REVISIONS[decision]
    worst = min((target["verdict"] for target in verdict["targets"]), key=WORST_FIRST.index)
    assert verdict["verdict"] == worst


def test_every_request_is_counted(shipped: Run) -> None:
    """Every request of both windows counts as a sample or as an error, and the record has the same numbers."""
    windows = {window["step"]: window for window in shipped["measurements"]}
    assert {"measure before", "measure after"} <= set(windows)
    for window in windows.values():
        for name in ("/account", "/products/1"):
            lines = [line for line in window["routes"] if line["target"]["route"] == name]
            assert sum(line["samples"] + line["errors"] for line in lines) == 20 * 22
            assert all(line["median_ms"] > 0 for line in lines if line["samples"])
        assert any(remark.startswith("Warmed up for ") for remark in window["remarks"])
    [target] = shipped["verdict"]["targets"]
    assert target["sentence"] in shipped["record"]["markdown"]
    assert "- Measured before the change: 20 bursts in 6 s." in shipped["record"]["markdown"]


def test_a_change_can_be_rolled_back_after_any_verdict(
    shipped: Run, client: AdminClient, shop_database: PostgreSQL
) -> None:
    """The change can be rolled back after any verdict."""
    ended = finished(client, client.start("roll-back-change", {"change": NAME}))
    assert ended["state"]["name"] == "RolledBack"
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert "'open'" in scalar(shop_database, "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_orders_open'")
