"""The pool of database connections, and every query of the shop."""

from sqlalchemy import Engine, create_engine, text

# The subquery limits the orders before the join, so that only twenty products are read.
RECENT_ORDERS = text("""
    SELECT recent.id, recent.placed_at, recent.status, recent.quantity, recent.total_cents,
           products.id AS product_id, products.title
    FROM (
        SELECT * FROM orders WHERE customer_id = :customer_id
        ORDER BY placed_at DESC, id DESC LIMIT 20
    ) AS recent
    JOIN products ON products.id = recent.product_id
    ORDER BY recent.placed_at DESC, recent.id DESC
""")

# 'open' is a literal, so that the partial index matches in prepared and unprepared plans.
OPEN_ORDERS = text("""
    SELECT recent.id, recent.placed_at, recent.quantity, recent.total_cents,
           products.id AS product_id, products.title
    FROM (
        SELECT * FROM orders WHERE customer_id = :customer_id AND status = 'open'
        ORDER BY placed_at DESC, id DESC LIMIT 5
    ) AS recent
    JOIN products ON products.id = recent.product_id
    ORDER BY recent.placed_at DESC, recent.id DESC
""")

COUNT_OPEN_ORDERS = text("SELECT count(*) FROM orders WHERE customer_id = :customer_id AND status = 'open'")

CUSTOMER_BY_ID = text("SELECT id, name, email, created_at FROM customers WHERE id = :customer_id")

CUSTOMER_BY_EMAIL = text("SELECT id, name, password_hash FROM customers WHERE email = :email")

PRODUCT = text("SELECT id, title, description, price_cents FROM products WHERE id = :product_id")

PRODUCTS_OF_PAGE = text("SELECT id, title, price_cents FROM products ORDER BY id LIMIT :size OFFSET :start")

NEWEST_PRODUCTS = text("SELECT id, title, price_cents FROM products ORDER BY updated_at DESC, id DESC LIMIT 6")


def open_pool(database_url: str) -> Engine:
    """Create the pool. The first query opens the first connection."""
    return create_engine(
        database_url,
        pool_size=10,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        # The pages only read. Without a transaction, a query is one round trip instead of three.
        isolation_level="AUTOCOMMIT",
        # Customers have from one to tens of thousands of orders: a plan prepared for the average one misses the index
        # that the large ones need. Unprepared, every query is planned for its own customer.
        connect_args={"prepare_threshold": None},
    )
