"""The order history of one customer is read newest first."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # An interrupted concurrent build leaves an invalid index. Dropping it first makes this safe to repeat.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_history")
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_orders_history ON orders (customer_id, placed_at DESC, id DESC)"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_history")
