"""The home page shows the products that changed last."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column(
        "products", sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
    )
    op.create_index("ix_products_updated_at", "products", ["updated_at"])


def downgrade() -> None:
    op.drop_index("ix_products_updated_at", "products")
    op.drop_column("products", "updated_at")
