"""The statistics show no use of the index of open orders."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_open")


def downgrade() -> None:
    # An interrupted concurrent build leaves an invalid index. Dropping it first makes this safe to repeat.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_open")
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_orders_open ON orders (customer_id) WHERE status = 'open'"
        )
