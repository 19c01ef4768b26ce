"""Which shipments on staging prove a change, and how staging differs from production."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway.config.change import Migrate
from slipway.config.plan import Plan
from slipway.config.service import (
    PRESETS,
    Cache,
    Database,
    Identity,
    MigrationCommands,
    Migrations,
    Probe,
    Serve,
    Service,
    SignIn,
    Staging,
)
from slipway.core.errors import InvalidInput
from slipway.core.settings import EnvironmentReference
from slipway.runs.shipments import Shipment
from slipway.shipping.staging_differences import differences, same_commands
from slipway.shipping.staging_rules import commands_of, sql_digest, staged
from tests.histories import plan_of

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
STAGING = Staging(service="shop-staging", within_h=48)
ENVIRONMENT = EnvironmentReference(env="SHOP_DATABASE_URL")


def service(name: str = "shop", **parts: Any) -> Service:
    """Return a service with a database and Alembic migrations."""
    common: dict[str, Any] = {
        "name": name,
        "url": "http://127.0.0.1:9",
        "directory": Path("shop"),
        "routes": ("/", "/products/*"),
        "database": Database(url=ENVIRONMENT),
        "migrations": Migrations(preset="alembic"),
    }
    return Service(**common | parts)


PLAN = plan_of(service(staging=STAGING), Migrate(start="0001", to="0002")).model_copy(
    update={"migration_sql": "CREATE INDEX a_note ON a (note)"}
)


def shipment(outcome: str, hours_ago: float, run: str = "", **parts: Any) -> Shipment:
    """Return the outcome of a run on staging that ended `hours_ago` hours ago."""
    common: dict[str, Any] = {
        "run_id": run or f"{outcome}-{hours_ago:g}",
        "service": "shop-staging",
        "change": "faster",
        "digest": PLAN.digest,
        "sql_digest": sql_digest(PLAN) if outcome == "kept" else "",
        "commands": commands_of(PLAN),
        "came_of_it": outcome,
        "at": NOW - timedelta(hours=hours_ago),
    }
    return Shipment(**common | parts)


def proof(*shipments: Shipment, plan: Plan = PLAN) -> tuple[str, str]:
    """Return the ids of the two runs that prove the change."""
    runs = staged(plan, STAGING, shipments, lambda entry: (NOW - entry.at).total_seconds() / 3_600)
    assert runs.service == "shop-staging"
    return runs.kept_by, runs.rolled_back_by


def test_a_keep_and_a_later_rollback_prove_the_change() -> None:
    """The order in which the store returns the shipments does not matter."""
    kept, rolled_back = shipment("kept", 3), shipment("rolled back", 2)
    assert proof(kept, rolled_back) == proof(rolled_back, kept) == ("kept-3", "rolled back-2")


def test_the_newest_proof_counts() -> None:
    """Older proofs, and later attempts without a rollback, do not affect the newest proof."""
    attempts = [shipment("kept", 40), shipment("rolled back", 39), shipment("kept", 5), shipment("rolled back", 4)]
    assert proof(*attempts) == ("kept-5", "rolled back-4")
    assert proof(*attempts, shipment("kept", 1)) == ("kept-5", "rolled back-4")
    assert proof(*attempts, shipment("rolled back", 1)) == ("kept-5", "rolled back-4")


OTHER = MigrationCommands(**PRESETS["alembic"].model_dump() | {"upgrade": ("./fast-upgrade", "{to}")})


@pytest.mark.parametrize(
    ("shipments", "reason"),
    [
        pytest.param([], "faster has not been kept on shop-staging.", id="nothing"),
        pytest.param([shipment("rolled back", 1)], "faster has not been kept on shop-staging.", id="only back"),
        pytest.param(
            [shipment("kept", 1)],
            "Run kept-1 on shop-staging kept the change, but it has not been rolled back there.",
            id="only kept",
        ),
        pytest.param(
            [shipment("rolled back", 2), shipment("kept", 1)],
            "Run kept-1 on shop-staging kept the change, but it has not been rolled back there.",
            id="rolled back before",
        ),
        pytest.param(
            [shipment("kept", 2, digest="f" * 64), shipment("rolled back", 1, digest="f" * 64)],
            "Run kept-2 on shop-staging kept a different change file: sha256 ffffffffffffffff on staging, "
            "0000000000000000 now.",
            id="another file",
        ),
        pytest.param(
            [shipment("kept", 2), shipment("rolled back", 1, digest="f" * 64)],
            "Run kept-2 on shop-staging kept the change, but it has not been rolled back there.",
            id="another file rolled back",
        ),
        pytest.param(
            [shipment("kept", 2, sql_digest="f" * 64), shipment("rolled back", 1)],
            "Run kept-2 on shop-staging ran a different migration: its SQL differs from the SQL that would run now.",
            id="another migration",
        ),
        pytest.param(
            [
                shipment("kept", 2, commands=commands_of(PLAN) | {"upgrade": ["./fast-upgrade", "{to}"]}),
                shipment("rolled back", 1),
            ],
            "Run kept-2 on shop-staging used other migration commands than shop: "
            "upgrade: `./fast-upgrade {to}` on staging, `alembic upgrade {to}` here.",
            id="other commands",
        ),
        pytest.param(
            [shipment("kept", 49), shipment("rolled back", 1)],
            "Run kept-49 on shop-staging kept the change 49 hours ago, which is too long.",
            id="too long ago",
        ),
        pytest.param(
            [shipment("kept", 3), shipment("rolled back", 2), shipment("kept", 1, digest="f" * 64)],
            None,
            id="an older proof and a newer attempt with another file",
        ),
    ],
)
def test_a_missing_proof_is_refused_with_its_reason(shipments: list[Shipment], reason: str | None) -> None:
    """The error says why the newest keep does not count, and names the two commands that fix it."""
    if reason is None:
        assert proof(*shipments) == ("kept-3", "rolled back-2")
        return
    with pytest.raises(InvalidInput) as refused:
        proof(*shipments)
    assert refused.value.failed == f"{reason} Nothing was changed."
    assert refused.value.expected == (
        "The same change was kept and then rolled back on shop-staging in the last 48 hours: "
        "slipway ship faster --staging, slipway rollback faster --staging."
    )


def test_migration_commands_do_not_matter_without_a_migration() -> None:
    """For a change without a migration, the services may migrate with different commands."""
    plan = plan_of(service(staging=STAGING, migrations=Migrations(commands=OTHER)))
    shipments = shipment("kept", 2, commands={}, sql_digest=sql_digest(plan)), shipment("rolled back", 1, commands={})
    assert proof(*shipments, plan=plan) == ("kept-2", "rolled back-1")


CUSTOMER = Identity(
    name="customer", sign_in=SignIn(path="/sign-in", form={}), marker="Signed in", marker_route="/account"
)
VARNISH = Cache(kind="varnish", url="http://127.0.0.1:9", token=EnvironmentReference(env="SHOP_TOKEN"))


def test_addresses_names_and_folders_are_not_differences() -> None:
    """Other addresses, names and folders do not matter to a change."""
    production = service(staging=STAGING, cache=VARNISH)
    on_staging = service(
        "shop-staging",
        url="http://127.0.0.1:8",
        directory=Path("elsewhere"),
        cache=VARNISH.model_copy(update={"url": "http://127.0.0.1:8"}),
    )
    assert differences(production, on_staging) == []
    assert same_commands(production, on_staging)


def test_every_difference_is_listed() -> None:
    """Each difference that matters to a change is one line."""
    production = service(staging=STAGING, cache=VARNISH, identities=(CUSTOMER,), probe=Probe(rate=150))
    on_staging = service(
        "shop-staging",
        routes=("/", "/beta"),
        migrations=Migrations(commands=OTHER, lock_timeout_s=5, tries=3),
        cache=VARNISH.model_copy(update={"kind": EnvironmentReference(env="CACHE")}),
        serve=Serve(command=("serve", "{port}")),
        probe=Probe(requests=20),
    )
    assert differences(production, on_staging) == [
        "upgrade: `alembic upgrade {to}`, on staging `./fast-upgrade {to}`",
        "routes missing on staging: /products/*",
        "routes only on staging: /beta",
        "identities missing on staging: customer",
        "lock timeout: 1 s, on staging 5 s",
        "attempts to get a lock: 12, on staging 3",
        "cache: varnish, on staging set by the environment variable CACHE",
        "measurement rate: 150 requests/s, on staging 50 requests/s",
        "measurement size: 20 × 50 requests, on staging 20 × 20 requests",
        "current code on the copy: not started, on staging started",
    ]
    assert not same_commands(production, on_staging)


def test_staging_without_migrations_proves_nothing() -> None:
    """The migration commands of a service without migrations are a difference."""
    on_staging = service("shop-staging", migrations=None, database=None)
    assert not same_commands(service(), on_staging)
    assert "upgrade: `alembic upgrade {to}`, on staging `(no command)`" in differences(service(), on_staging)
