"""Customers may sign in; those who never set a password keep null."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("customers", sa.Column("password_hash", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_column("customers", "password_hash")
