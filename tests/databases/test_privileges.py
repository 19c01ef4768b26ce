"""The rights of roles on a real PostgreSQL, and the audit item about them."""

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
    """Run statements, each in its own transaction."""
    engine = create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """Create a role that can only sign in."""
    name = f"app_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {name} LOGIN PASSWORD 'secret'", "CREATE TABLE orders (id int)")
    yield name
    run(database, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def database_item(database: str, role: str, monkeypatch: pytest.MonkeyPatch) -> AuditItem:
    """Return the audit item about a role."""
    monkeypatch.setenv("TEST_DATABASE_URL", database)
    entry = {"name": "shop", "url": "http://127.0.0.1:9", "routes": ["/"]}
    own = {"url": {"env": "TEST_DATABASE_URL"}, "role": role}
    return runner._database_role(Service.model_validate(entry | {"database": own}), Path())


def test_audit_passes_for_a_role_that_only_uses_tables(
    database: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role passes by name on another role's connection, and on its own connection."""
    run(database, f"GRANT SELECT, INSERT ON orders TO {role}")
    assert database_item(database, role, monkeypatch).result == "pass"
    own = make_url(database).set(username=role, password="secret").render_as_string(hide_password=False)
    assert database_item(own, "", monkeypatch).summary == f"{role} is neither superuser nor owner."


def test_audit_fails_for_a_superuser(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evidence contains no tables that the superuser does not own itself."""
    item = database_item(database, "", monkeypatch)
    assert item.result == "fail" and item.evidence[0].endswith(" is a superuser")
    assert "table" not in str(item.evidence)


def test_rights_contain_owned_databases_and_tables(database: str, role: str) -> None:
    """Owned tables are listed by name, and ownership of the database is reported."""
    name = make_url(database).database
    run(database, f"ALTER TABLE orders OWNER TO {role}")
    assert rights_of(PostgreSQL(database), role).tables == ("public.orders",)  # type: ignore[union-attr]
    run(database, f"ALTER DATABASE {name} OWNER TO {role}", f"ALTER ROLE {role} CREATEDB CREATEROLE")
    rights = rights_of(PostgreSQL(database), role)
    assert rights is not None and rights.owns_database and not rights.superuser
    assert rights.may_create_databases and rights.may_create_roles


def test_rights_contain_those_of_other_roles(database: str, role: str) -> None:
    """Rights through membership in another role count as the role's own."""
    owner = f"owner_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {owner}", f"ALTER TABLE orders OWNER TO {owner}", f"GRANT {owner} TO {role}")
    try:
        rights = rights_of(PostgreSQL(database), role)
        assert rights is not None and rights.tables == ("public.orders",) and not rights.owns_database
    finally:
        run(database, f"DROP OWNED BY {owner}", f"DROP ROLE {owner}")


def test_audit_does_not_check_an_unknown_role(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that contains SQL is only a name."""
    item = database_item(database, "x' OR '1'='1", monkeypatch)
    assert (item.result, item.summary) == ("not checked", "There is no role \"x' OR '1'='1\".")


def test_audit_does_not_check_other_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite has no roles. A server that does not answer raises `Unavailable` without the password."""
    item = database_item(f"sqlite:///{tmp_path / 'shop.db'}", "", monkeypatch)
    assert (item.result, item.summary) == ("not checked", "The check supports only PostgreSQL, not SQLite.")
    with pytest.raises(Unavailable) as unavailable:
        rights_of(PostgreSQL("postgresql+psycopg://shop:hunter2@127.0.0.1:9/shop"))
    assert "hunter2" not in str(unavailable.value)
