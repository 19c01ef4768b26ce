"""The privileges of a service's role in its database. Pure. Source: PostgreSQL manual, chapters 21 and 5.8."""

from __future__ import annotations

from slipway.auditing.report import AuditItem
from slipway.auditing.results import checked
from slipway.databases.postgresql.privileges import RoleRights

FIX = (
    "Run migrations as the owner, and the service as a separate role with SELECT, INSERT, UPDATE and DELETE. "
    "Name that role as `role` in [service.database]."
)


def role_item(rights: RoleRights) -> AuditItem:
    """Return the item. The role must not be superuser or own the database or a table. Other privileges are notes."""
    problems = []
    if rights.superuser:
        problems.append(f"{rights.name} is a superuser")
    if rights.owns_database:
        problems.append(f"{rights.name} owns the database")
    problems += [f"{rights.name} owns the table {table}" for table in rights.tables]
    notes = [f"{rights.name} may create databases"] if rights.may_create_databases else []
    notes += [f"{rights.name} may create roles"] if rights.may_create_roles else []
    pass_summary = f"{rights.name} is neither superuser nor owner."
    return checked("database-role", pass_summary, "The service's role has too many privileges.", problems, FIX, notes)
