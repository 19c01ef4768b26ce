"""The rights of a role in a PostgreSQL database, including those of the roles that it belongs to."""

from __future__ import annotations

from sqlalchemy import text

from slipway.core.frozen import FrozenModel
from slipway.databases.database import Address
from slipway.databases.postgresql.migration_lock import connected

# PostgreSQL treats a superuser as a member of every role, so without the CASE it would own everything.
RIGHTS = """
WITH asked AS (
    SELECT oid, rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles
    WHERE rolname = coalesce(nullif(:role, ''), current_user)
), owners AS (
    SELECT r.oid FROM pg_roles r, asked a
    WHERE CASE WHEN a.rolsuper THEN r.oid = a.oid ELSE pg_has_role(a.oid, r.oid, 'MEMBER') END
)
SELECT a.rolname AS name, a.rolcreatedb AS may_create_databases, a.rolcreaterole AS may_create_roles,
       a.rolsuper OR EXISTS (SELECT FROM pg_roles r JOIN owners USING (oid) WHERE r.rolsuper) AS superuser,
       EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datdba IN (SELECT oid FROM owners))
           AS owns_database,
       ARRAY (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p') AND c.relowner IN (SELECT oid FROM owners)
                AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
              ORDER BY 1) AS tables
FROM asked a
"""


class RoleRights(FrozenModel):
    """The rights of a role, including those of the roles that it belongs to. `tables` are the tables that it owns."""

    name: str
    superuser: bool
    owns_database: bool
    tables: tuple[str, ...] = ()
    may_create_databases: bool = False
    may_create_roles: bool = False


def rights_of(database: Address, role: str = "") -> RoleRights | None:
    """Return the rights of `role`, or of the connected role if `role` is empty. Return None if the role does not exist.

    Only reads the catalog. Raises Unavailable if the database does not answer.
    """
    with connected(database) as connection:
        row = connection.execute(text(RIGHTS), {"role": role}).mappings().one_or_none()
    return None if row is None else RoleRights.model_validate({**row, "tables": tuple(row["tables"])})
