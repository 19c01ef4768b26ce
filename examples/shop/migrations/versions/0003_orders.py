"""Orders of one product each."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column(
            "customer_id", sa.BigInteger, sa.ForeignKey("customers.id", name="fk_orders_customer_id"), nullable=False
        ),
        sa.Column(
            "product_id", sa.BigInteger, sa.ForeignKey("products.id", name="fk_orders_product_id"), nullable=False
        ),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("total_cents", sa.Integer, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("ix_orders_customer_id", "orders", ["customer_id"])


def downgrade() -> None:
    op.drop_index("ix_orders_customer_id", "orders")
    op.drop_table("orders")
