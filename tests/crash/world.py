"""A small fast world to crash: the embedded stack over the practice shop, and what is true of it afterwards.

The change that is shipped drops an index in use, so that a run takes every step: it migrates, finds the regression,
and goes all the way back. Effects are counted where they happen: index commands by an event trigger in the shop's own
database, never by what Prefect believes.
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
  IF current_database() ~ '^slipway_copy_' THEN RETURN; END IF;  -- rows of ours are no loss of the way back
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
    """What must be the same before and after a run that went all the way back."""

    schema: str
    revision: str
    rows: str


@dataclass
class World:
    """The running stack and its shop."""

    stack: Stack
    client: AdminClient
    shop: PostgreSQL
    store: PostgreSQL
    cache: CacheLog

    def settle(self, within_s: float = 120) -> None:
        """Wait until the supervisor has every part up again."""
        deadline = time.monotonic() + within_s
        while not all(part.alive() and part.ready() for part in self.stack.parts):
            assert time.monotonic() < deadline, f"not every part was up again within {within_s:.0f} s"
            time.sleep(0.2)

    def facts(self) -> Facts:
        """Schema, revision and a checksum of all orders."""
        sums = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(total_cents) || ' ' || sum(customer_id) FROM orders"
        return Facts(
            self.shop.schema(),
            str(scalar(self.shop, "SELECT version_num FROM alembic_version")),
            str(scalar(self.shop, sums)),
        )

    def count(self, tag: str) -> int:
        """How often a command on the index took effect in the live database so far."""
        query = f"SELECT count(*) FROM effect_log WHERE tag = '{tag}' AND object LIKE '%{INDEX}'"
        return int(scalar(self.shop, query))

    def upgrade(self, revision: str) -> None:
        """Move the shop forward by its own command, behind Slipway's back."""
        migrate_shop(self.stack, "upgrade", revision)

    def set_back(self) -> None:
        """Bring the shop back to where every run starts, whatever a run has left."""
        with suppress(AssertionError):
            migrate_shop(self.stack, "downgrade", "0008")

    def serves_fresh(self) -> bool:
        """Whether the cache passes on the shop's pages and still keeps them: a second read is a hit."""
        with httpx.Client(base_url=self.stack.shop_url, trust_env=False, timeout=60) as visitor:
            answers = [visitor.get("/products/2") for _ in range(2)]
        return answers[-1].status_code == 200 and answers[-1].headers["x-cache"] == "HIT"

    def holds(self) -> int:
        """How many services are held."""
        return int(scalar(self.store, "SELECT count(*) FROM hold"))

    def copies(self) -> int:
        """How many copies of databases are left."""
        return int(scalar(self.shop, "SELECT count(*) FROM pg_database WHERE datname LIKE 'slipway_copy_%'"))


@contextmanager
def world(home: Path, say: Callable[[str], None]) -> Iterator[World]:
    """The stack with short measurements, the shop at 0008, its index commands counted."""
    changes = home / "changes"
    shutil.copytree(ROOT / "changes", changes, dirs_exist_ok=True, ignore=shutil.ignore_patterns("record.md", "*.svg"))
    policy = changes / CHANGE / "change.toml"
    text_of = policy.read_text(encoding="utf-8")
    # A kill costs requests, and then a verdict may stay open: here that goes back, too, so that each run starts alike.
    policy.write_text(text_of + 'on_inconclusive = "roll back"\n', encoding="utf-8")
    config = home / "slipway.toml"
    config.write_text(quick_config(), encoding="utf-8")
    with (
        Stack(home / "stack", changes=changes, config=config, fresh=True, say=say, durable=True) as stack,
        stack.client() as client,
        cache_log(stack) as cache,
    ):
        shop = PostgreSQL(stack.environment["SHOP_DATABASE_URL"])
        store = PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"])
        made = World(stack, client, shop, store, cache)
        made.upgrade("0008")
        engine = create_engine(shop.url)
        with engine.begin() as connection:
            connection.exec_driver_sql(COUNTERS)
        engine.dispose()
        yield made


def portable_config() -> str:
    """The project's slipway.toml with paths that hold from anywhere."""
    written = (ROOT / "slipway.toml").read_text(encoding="utf-8")
    assert '"examples/shop"' in written
    return written.replace('"examples/shop"', f'"{ROOT / "examples" / "shop"}"')


def quick_config() -> str:
    """The same with short windows and waits."""
    written = portable_config()
    for old, new in QUICK.items():
        assert old in written, old
        written = written.replace(old, new)
    return written


def migrate_shop(stack: Stack, direction: str, revision: str) -> None:
    """Run the shop's own migration command on the live database."""
    folder = ROOT / "examples" / "shop"
    environment = {**stack.environment, "DATABASE_URL": stack.environment["SHOP_DATABASE_URL"]}
    command = [folder / ".venv" / "bin" / "alembic", direction, revision]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
