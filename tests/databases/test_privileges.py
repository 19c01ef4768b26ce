"""The rights of roles, as a real PostgreSQL tells them, and the audit's item about them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from slipway.auditing import runner
from slipway.auditing.report import AuditItem
from slipway.config.service import Service
from slipway.core.errors import Unavailable
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.postgresql.privileges import rights_of


def run(database: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    engine = create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role that may sign in and nothing else."""
    name = f"app_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {name} LOGIN PASSWORD 'secret'", "CREATE TABLE orders (id int)")
    yield name
    run(database, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def database_item(database: str, role: str, monkeypatch: pytest.MonkeyPatch) -> AuditItem:
    """The audit's item about a role."""
    monkeypatch.setenv("TEST_DATABASE_URL", database)
    entry = {"name": "shop", "url": "http://127.0.0.1:9", "routes": ["/"]}
    own = {"url": {"env": "TEST_DATABASE_URL"}, "role": role}
    return runner._database_role(Service.model_validate(entry | {"database": own}), Path())


def test_a_role_that_may_only_use_tables(database: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes, by its name over another's connection, and over its own."""
    run(database, f"GRANT SELECT, INSERT ON orders TO {role}")
    assert database_item(database, role, monkeypatch).result == "pass"
    own = make_url(database).set(username=role, password="secret").render_as_string(hide_password=False)
    assert database_item(own, "", monkeypatch).summary == f"{role} is neither superuser nor owner."


def test_the_superuser_of_the_tests(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser fails as one; what it does not own itself is not counted."""
    found = database_item(database, "", monkeypatch)
    assert found.result == "fail" and found.evidence[0].endswith(" is a superuser")
    assert "table" not in str(found.evidence)


def test_an_owner(database: str, role: str) -> None:
    """Owning the database or a table is told, with the table's name."""
    name = make_url(database).database
    run(database, f"ALTER TABLE orders OWNER TO {role}")
    assert rights_of(PostgreSQL(database), role).tables == ("public.orders",)  # type: ignore[union-attr]
    run(database, f"ALTER DATABASE {name} OWNER TO {role}", f"ALTER ROLE {role} CREATEDB CREATEROLE")
    rights = rights_of(PostgreSQL(database), role)
    assert rights is not None and rights.owns_database and not rights.superuser
    assert rights.may_create_databases and rights.may_create_roles


def test_a_member_of_the_owner(database: str, role: str) -> None:
    """What a role may do through another counts as its own."""
    owner = f"owner_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {owner}", f"ALTER TABLE orders OWNER TO {owner}", f"GRANT {owner} TO {role}")
    try:
        rights = rights_of(PostgreSQL(database), role)
        assert rights is not None and rights.tables == ("public.orders",) and not rights.owns_database
    finally:
        run(database, f"DROP OWNED BY {owner}", f"DROP ROLE {owner}")


def test_a_role_that_is_not_there(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is claimed about it; a name that looks like SQL is only a name."""
    found = database_item(database, "x' OR '1'='1", monkeypatch)
    assert (found.result, found.summary) == ("not checked", "There is no role \"x' OR '1'='1\".")


def test_a_database_that_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite has no roles, and a server that is away is Unavailable, without its password."""
    found = database_item(f"sqlite:///{tmp_path / 'shop.db'}", "", monkeypatch)
    assert (found.result, found.summary) == ("not checked", "Only PostgreSQL is asked for rights, and this is SQLite.")
    with pytest.raises(Unavailable) as away:
        rights_of(PostgreSQL("postgresql+psycopg://shop:hunter2@127.0.0.1:9/shop"))
    assert "hunter2" not in str(away.value)
