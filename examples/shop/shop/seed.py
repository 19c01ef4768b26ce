"""Fill an empty shop: `python -m shop.seed [--customers N] [--orders N] [--products N]`.

PostgreSQL generates the rows in one transaction. A failed seed leaves the tables empty.
"""

import argparse
import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, create_engine, text

from shop.passwords import hash_password
from shop.settings import require_variable

REVISION = "0007"

TEST_CUSTOMERS = text("""
    INSERT INTO customers (id, email, name, password_hash, created_at) VALUES
        (1, 'alice@example.com', 'Alice', :alice_hash, now() - interval '3 years'),
        (2, 'bob@example.com', 'Bob', :bob_hash, now() - interval '3 years')
""")

CUSTOMERS = text("""
    INSERT INTO customers (id, email, name, created_at)
    SELECT i, 'customer-' || i || '@example.com', 'Customer ' || i,
           now() - interval '3 years' + interval '1 second' * (i % 86400)
    FROM generate_series(3, CAST(:customers AS int)) AS i
""")

PRODUCTS = text("""
    INSERT INTO products (id, slug, title, description, price_cents, updated_at)
    SELECT i, lower(kind || '-' || thing || '-' || i), kind || ' ' || thing || ' ' || i,
           'A ' || lower(kind) || ' ' || lower(thing) || ', made to be used every day and to last.',
           199 + floor(power(random(), 3) * 20000), now() - interval '1 minute' * i
    FROM generate_series(1, CAST(:products AS int)) AS i,
         LATERAL (SELECT (ARRAY['Oak','Linen','Copper','Wool','Stone','Glass','Cork','Clay'])[1 + i % 8] AS kind,
                  (ARRAY['Bowl','Lamp','Chair','Kettle','Blanket','Vase','Basket'])[1 + i % 7] AS thing) AS words
""")

# One order in 25 is Alice's, and a dozen are Bob's. Of the others, a few customers have many and most have few.
# Orders are placed in the order of their ids. Most of the last fifth are open; of Alice's only the last thirty.
ORDERS = text("""
    WITH drawn AS MATERIALIZED (
        SELECT i, random() AS luck,
               CASE WHEN i % 25 = 0 THEN 1
                    WHEN i % greatest(CAST(:orders AS int) / 12, 2) = 1 THEN 2
                    ELSE 3 + floor(power(random(), 3) * (CAST(:customers AS int) - 2))::int END AS customer_id,
               1 + floor(power(random(), 3) * CAST(:products AS int))::int AS product_id,
               1 + floor(power(random(), 3) * 5)::int AS quantity
        FROM generate_series(1, CAST(:orders AS int)) AS i
    )
    INSERT INTO orders (id, customer_id, product_id, status, quantity, total_cents, placed_at)
    SELECT drawn.i, drawn.customer_id, drawn.product_id,
           CASE WHEN customer_id = 1 AND i > :orders - 30 * 25 THEN 'open'
                WHEN customer_id <> 1 AND i > :orders * 0.8 AND luck < 0.85 THEN 'open'
                WHEN luck < 0.04 THEN 'cancelled'
                WHEN luck < 0.06 THEN 'returned'
                WHEN i > :orders * 0.8 THEN 'shipped'
                ELSE 'delivered' END,
           drawn.quantity, drawn.quantity * products.price_cents,
           now() - interval '3 years' * ((:orders - i) / CAST(:orders AS double precision))
    FROM drawn JOIN products ON products.id = drawn.product_id
""")

# Constraints and indexes that slow down a bulk load (PostgreSQL manual, "Populating a Database"): DROP and CREATE each.
SLOW_PARTS = text("""
    SELECT 'ALTER TABLE orders DROP CONSTRAINT ' || conname,
           'ALTER TABLE orders ADD CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'f'
    UNION ALL
    SELECT 'DROP INDEX ' || indexrelid::regclass, pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid = 'orders'::regclass AND NOT indisprimary
""")


def main() -> None:
    """Read the sizes and fill the database of DATABASE_URL."""
    parser = argparse.ArgumentParser(description="Fill an empty shop whose schema is at revision " + REVISION)
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--products", type=int, default=5_000)
    sizes = vars(parser.parse_args())
    if sizes["customers"] < 3 or min(sizes.values()) < 1:
        parser.error("expected at least 3 customers, 1 order and 1 product")
    password = require_variable("SHOP_CUSTOMER_PASSWORD")
    fill(create_engine(require_variable("DATABASE_URL")), sizes, password)


def fill(engine: Engine, sizes: dict[str, int], password: str) -> None:
    """Fill the tables in one transaction, then update statistics and visibility map."""
    with engine.begin() as connection:
        refuse_unless_ready(connection)
        connection.execute(text("SELECT setseed(0.42)"))  # the same shop every time
        time_stage("customers", lambda: insert_customers(connection, sizes, password))
        time_stage("products", lambda: connection.execute(PRODUCTS, sizes))
        restore = set_aside_slow_parts(connection)
        time_stage("orders", lambda: connection.execute(ORDERS, sizes))
        time_stage("indexes", lambda: restore_parts(connection, restore))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Without this, the first autovacuum would run during a measurement.
        time_stage("vacuum analyze", lambda: connection.execute(text("VACUUM ANALYZE customers, products, orders")))


def refuse_unless_ready(connection: Connection) -> None:
    """Raise SystemExit with a reason unless the schema is at the expected revision and the tables are empty."""
    revision = read_revision(connection)
    if revision != REVISION:
        raise SystemExit(f"refused: expected the schema at {REVISION}, found {revision}; nothing was changed")
    for table in ("customers", "products", "orders"):
        if connection.execute(text(f"SELECT EXISTS (SELECT FROM {table})")).scalar_one():
            raise SystemExit(f"refused: expected empty tables, found rows in {table}; nothing was changed")


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None before the first migration."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def insert_customers(connection: Connection, sizes: dict[str, int], password: str) -> None:
    """Insert the two test customers, who have passwords, and the others, who have none."""
    hashes = {"alice_hash": hash_password(password), "bob_hash": hash_password(password)}
    connection.execute(TEST_CUSTOMERS, hashes)
    connection.execute(CUSTOMERS, sizes)


def set_aside_slow_parts(connection: Connection) -> list[str]:
    """Drop the indexes and foreign keys of orders. Return the statements that create them again."""
    parts = connection.execute(SLOW_PARTS).all()
    for drop, _ in parts:
        connection.execute(text(drop))
    return [restore for _, restore in parts]


def restore_parts(connection: Connection, statements: list[str]) -> None:
    """Create indexes and foreign keys again, and set the id sequences after the highest ids."""
    for statement in statements:
        connection.execute(text(statement))
    for table in ("customers", "products", "orders"):
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"))


def time_stage(name: str, work: Callable[[], object]) -> None:
    """Run one stage and print its duration."""
    start = time.perf_counter()
    work()
    print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
