"""Whether what happened on staging is the rehearsal that a change needs, and how staging differs."""

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
    """A service with a database that it migrates by Alembic."""
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


def shipped(word: str, hours_ago: float, run: str = "", **parts: Any) -> Shipment:
    """What came of a run on staging, so long ago."""
    common: dict[str, Any] = {
        "run_id": run or f"{word}-{hours_ago:g}",
        "service": "shop-staging",
        "change": "faster",
        "digest": PLAN.digest,
        "sql_digest": sql_digest(PLAN) if word == "kept" else "",
        "commands": commands_of(PLAN),
        "came_of_it": word,
        "at": NOW - timedelta(hours=hours_ago),
    }
    return Shipment(**common | parts)


def look(*shipments: Shipment, plan: Plan = PLAN) -> tuple[str, str]:
    """The runs that prove the change."""
    found = staged(plan, STAGING, shipments, lambda shipment: (NOW - shipment.at).total_seconds() / 3_600)
    assert found.service == "shop-staging"
    return found.kept_by, found.rolled_back_by


def test_kept_and_then_rolled_back() -> None:
    """Both together are the proof, in whatever order the store tells them."""
    kept, back = shipped("kept", 3), shipped("rolled back", 2)
    assert look(kept, back) == look(back, kept) == ("kept-3", "rolled back-2")


def test_the_newest_proof_counts() -> None:
    """An older one, and whatever was tried there since without an end, take nothing from it."""
    tries = [shipped("kept", 40), shipped("rolled back", 39), shipped("kept", 5), shipped("rolled back", 4)]
    assert look(*tries) == ("kept-5", "rolled back-4")
    assert look(*tries, shipped("kept", 1)) == ("kept-5", "rolled back-4")
    assert look(*tries, shipped("rolled back", 1)) == ("kept-5", "rolled back-4")


OTHER = MigrationCommands(**PRESETS["alembic"].model_dump() | {"upgrade": ("./fast-upgrade", "{to}")})


@pytest.mark.parametrize(
    ("shipments", "lacks"),
    [
        pytest.param([], "faster was not kept on shop-staging yet.", id="nothing"),
        pytest.param([shipped("rolled back", 1)], "faster was not kept on shop-staging yet.", id="only back"),
        pytest.param(
            [shipped("kept", 1)],
            "Run kept-1 on shop-staging kept the change, but it was not rolled back there yet.",
            id="only kept",
        ),
        pytest.param(
            [shipped("rolled back", 2), shipped("kept", 1)],
            "Run kept-1 on shop-staging kept the change, but it was not rolled back there yet.",
            id="rolled back before",
        ),
        pytest.param(
            [shipped("kept", 2, digest="f" * 64), shipped("rolled back", 1, digest="f" * 64)],
            "Run kept-2 on shop-staging kept another change file: sha256 ffffffffffffffff there, 0000000000000000 now.",
            id="another file",
        ),
        pytest.param(
            [shipped("kept", 2), shipped("rolled back", 1, digest="f" * 64)],
            "Run kept-2 on shop-staging kept the change, but it was not rolled back there yet.",
            id="another file rolled back",
        ),
        pytest.param(
            [shipped("kept", 2, sql_digest="f" * 64), shipped("rolled back", 1)],
            "Run kept-2 on shop-staging ran another migration: its SQL differs from what would run now.",
            id="another migration",
        ),
        pytest.param(
            [
                shipped("kept", 2, commands=commands_of(PLAN) | {"upgrade": ["./fast-upgrade", "{to}"]}),
                shipped("rolled back", 1),
            ],
            "Run kept-2 on shop-staging migrated by other commands than shop does: "
            "upgrade by `./fast-upgrade {to}` there, by `alembic upgrade {to}` here.",
            id="other commands",
        ),
        pytest.param(
            [shipped("kept", 49), shipped("rolled back", 1)],
            "Run kept-49 on shop-staging kept the change 49 hours ago.",
            id="too long ago",
        ),
        pytest.param(
            [shipped("kept", 3), shipped("rolled back", 2), shipped("kept", 1, digest="f" * 64)],
            None,
            id="an older proof beside a newer try of another file",
        ),
    ],
)
def test_what_is_missing(shipments: list[Shipment], lacks: str | None) -> None:
    """What the newest try on staging lacks is told, with the two commands that make it good."""
    if lacks is None:
        assert look(*shipments) == ("kept-3", "rolled back-2")
        return
    with pytest.raises(InvalidInput) as refused:
        look(*shipments)
    assert refused.value.failed == f"{lacks} Nothing was changed."
    assert refused.value.expected == (
        "The same change kept on shop-staging, then rolled back there, within 48 hours: "
        "slipway ship faster --staging, slipway rollback faster --staging."
    )


def test_a_change_without_a_migration() -> None:
    """By what commands the services migrate says nothing then."""
    plan = plan_of(service(staging=STAGING, migrations=Migrations(commands=OTHER)))
    there = shipped("kept", 2, commands={}, sql_digest=sql_digest(plan)), shipped("rolled back", 1, commands={})
    assert look(*there, plan=plan) == ("kept-2", "rolled back-1")


CUSTOMER = Identity(
    name="customer", sign_in=SignIn(path="/sign-in", form={}), marker="Signed in", marker_route="/account"
)
VARNISH = Cache(kind="varnish", url="http://127.0.0.1:9", token=EnvironmentReference(env="SHOP_TOKEN"))


def test_no_difference() -> None:
    """Other addresses, names and folders are no difference that matters."""
    here = service(staging=STAGING, cache=VARNISH)
    there = service(
        "shop-staging",
        url="http://127.0.0.1:8",
        directory=Path("elsewhere"),
        cache=VARNISH.model_copy(update={"url": "http://127.0.0.1:8"}),
    )
    assert differences(here, there) == []
    assert same_commands(here, there)


def test_every_difference_is_a_sentence() -> None:
    """What a change would meet differently there."""
    here = service(staging=STAGING, cache=VARNISH, identities=(CUSTOMER,), probe=Probe(rate=150))
    there = service(
        "shop-staging",
        routes=("/", "/beta"),
        migrations=Migrations(commands=OTHER, lock_timeout_s=5, tries=3),
        cache=VARNISH.model_copy(update={"kind": EnvironmentReference(env="CACHE")}),
        serve=Serve(command=("serve", "{port}")),
        probe=Probe(requests=20),
    )
    assert differences(here, there) == [
        "upgrade: `alembic upgrade {to}`, on staging `./fast-upgrade {to}`",
        "routes that staging lacks: /products/*",
        "routes that only staging has: /beta",
        "identities that staging lacks: customer",
        "lock time-out: 1 s, on staging 5 s",
        "tries for a lock: 12, on staging 3",
        "cache: varnish, on staging what the environment variable CACHE says",
        "rate of a measurement: 150 requests/s, on staging 50 requests/s",
        "size of a measurement: 20 × 50 requests, on staging 20 × 20 requests",
        "its code on a copy: not started, on staging started",
    ]
    assert not same_commands(here, there)


def test_a_staging_without_migrations() -> None:
    """It proves nothing for a service that migrates."""
    there = service("shop-staging", migrations=None, database=None)
    assert not same_commands(service(), there)
    assert "upgrade: `alembic upgrade {to}`, on staging `nothing`" in differences(service(), there)
