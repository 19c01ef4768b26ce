"""Run the migrations on the database at DATABASE_URL, or print their SQL (`--sql`)."""

import os

from alembic import context
from sqlalchemy import create_engine, pool


def run_migrations(**target: object) -> None:
    """Run each migration in its own transaction, so that schema and version never differ by more than one revision."""
    context.configure(transaction_per_migration=True, **target)
    with context.begin_transaction():
        context.run_migrations()


def migrate_database(url: str) -> None:
    """Connect and migrate."""
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        run_migrations(connection=connection)


database_url = os.environ["DATABASE_URL"]
if context.is_offline_mode():
    run_migrations(url=database_url, literal_binds=True)
else:
    migrate_database(database_url)
