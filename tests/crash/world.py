"""The embedded stack with a small shop to crash, and the facts to check afterwards.

The shipped change drops an index in use, so that a run executes every step: it migrates, detects the regression, and
rolls back completely. Effects are counted where they happen: an event trigger in the shop's own database counts index
commands. Prefect's states are not used for this.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import create_engine

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.deploy import ROOT
from slipway.deployments.stack import Stack
from tests.crash.cache_log import CacheLog, cache_log
from tests.stack.runs import scalar

CHANGE = "drop-open-orders-index"
INDEX = "ix_orders_open"
QUICK = {
    "seconds = 16": "seconds = 5",
    "requests = 25": "requests = 22",
    "origin_timeout_s = 3": "origin_timeout_s = 1",
}

COUNTERS = """
CREATE TABLE effect_log (at timestamptz NOT NULL DEFAULT clock_timestamp(), tag text NOT NULL, object text);
CREATE FUNCTION log_created() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE done record;
BEGIN
  IF current_database() ~ '^slipway_copy_' THEN RETURN; END IF;  -- log rows in a copy would count as data loss
  FOR done IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
    INSERT INTO effect_log (tag, object) VALUES (done.command_tag, done.object_identity);
  END LOOP;
END $$;
CREATE FUNCTION log_dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE done record;
BEGIN
  IF current_database() ~ '^slipway_copy_' THEN RETURN; END IF;
  FOR done IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
    INSERT INTO effect_log (tag, object) VALUES ('DROP INDEX', done.object_identity);
  END LOOP;
END $$;
CREATE EVENT TRIGGER count_created ON ddl_command_end EXECUTE FUNCTION log_created();
CREATE EVENT TRIGGER count_dropped ON sql_drop EXECUTE FUNCTION log_dropped();
"""


@dataclass(frozen=True)
class Facts:
    """The data that must be equal before and after a run that was rolled back completely."""

    schema: str
    revision: str
    rows: str


@dataclass
class World:
    """The running stack with its shop, store and cache log."""

    stack: Stack
    client: AdminClient
    shop: PostgreSQL
    store: PostgreSQL
    cache: CacheLog

    def settle(self, within_s: float = 120) -> None:
        """Wait until every part is running and ready again."""
        deadline = time.monotonic() + within_s
        while not all(part.alive() and part.ready() for part in self.stack.parts):
            assert time.monotonic() < deadline, f"not every part was ready within {within_s:.0f} s"
            time.sleep(0.2)

    def facts(self) -> Facts:
        """Return the schema, the revision and a checksum of all orders."""
        sums = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(total_cents) || ' ' || sum(customer_id) FROM orders"
        return Facts(
            self.shop.schema(),
            str(scalar(self.shop, "SELECT version_num FROM alembic_version")),
            str(scalar(self.shop, sums)),
        )

    def count(self, tag: str) -> int:
        """Return how often a command on the index has taken effect in the live database."""
        query = f"SELECT count(*) FROM effect_log WHERE tag = '{tag}' AND object LIKE '%{INDEX}'"
        return int(scalar(self.shop, query))

    def upgrade(self, revision: str) -> None:
        """Upgrade the shop by its own command, without Slipway."""
        migrate_shop(self.stack, "upgrade", revision)

    def downgrade_to_start(self) -> None:
        """Downgrade the shop to the revision at which every run starts, after a run that failed."""
        with suppress(AssertionError):
            migrate_shop(self.stack, "downgrade", "0008")

    def serves_fresh(self) -> bool:
        """Return whether the cache serves the shop's pages and stores them: a second read is a hit."""
        with httpx.Client(base_url=self.stack.shop_url, trust_env=False, timeout=60) as visitor:
            responses = [visitor.get("/products/2") for _ in range(2)]
        return responses[-1].status_code == 200 and responses[-1].headers["x-cache"] == "HIT"

    def holds(self) -> int:
        """Return the number of service locks."""
        return int(scalar(self.store, "SELECT count(*) FROM hold"))

    def copies(self) -> int:
        """Return the number of database copies that are left."""
        return int(scalar(self.shop, "SELECT count(*) FROM pg_database WHERE datname LIKE 'slipway_copy_%'"))


@contextmanager
def world(home: Path, report: Callable[[str], None]) -> Iterator[World]:
    """Start the stack with short measurements, the shop at revision 0008, and a trigger that counts index commands."""
    changes = home / "changes"
    shutil.copytree(ROOT / "changes", changes, dirs_exist_ok=True, ignore=shutil.ignore_patterns("record.md", "*.svg"))
    policy = changes / CHANGE / "change.toml"
    original = policy.read_text(encoding="utf-8")
    # A kill loses requests, so a verdict may be inconclusive. Roll back then too, so that each run starts at the same state.
    policy.write_text(original + 'on_inconclusive = "roll back"\n', encoding="utf-8")
    config = home / "slipway.toml"
    config.write_text(quick_config(), encoding="utf-8")
    with (
        Stack(home / "stack", changes=changes, config=config, fresh=True, report=report, durable=True) as stack,
        stack.client() as client,
        cache_log(stack) as cache,
    ):
        shop = PostgreSQL(stack.environment["SHOP_DATABASE_URL"])
        store = PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"])
        started_world = World(stack, client, shop, store, cache)
        started_world.upgrade("0008")
        engine = create_engine(shop.url)
        with engine.begin() as connection:
            connection.exec_driver_sql(COUNTERS)
        engine.dispose()
        yield started_world


def portable_config() -> str:
    """Return the project's slipway.toml with absolute paths."""
    config = (ROOT / "slipway.toml").read_text(encoding="utf-8")
    assert '"examples/shop"' in config
    return config.replace('"examples/shop"', f'"{ROOT / "examples" / "shop"}"')


def quick_config() -> str:
    """Return the project's slipway.toml with absolute paths and short windows and waits."""
    config = portable_config()
    for old, new in QUICK.items():
        assert old in config, old
        config = config.replace(old, new)
    return config


def migrate_shop(stack: Stack, direction: str, revision: str) -> None:
    """Run the shop's own migration command on the live database."""
    folder = ROOT / "examples" / "shop"
    environment = {**stack.environment, "DATABASE_URL": stack.environment["SHOP_DATABASE_URL"]}
    command = [folder / ".venv" / "bin" / "alembic", direction, revision]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
