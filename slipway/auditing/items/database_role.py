"""What the role of a service may do in its database. Pure. Source: PostgreSQL manual, chapters 21 and 5.8."""

from __future__ import annotations

from slipway.auditing.report import AuditItem
from slipway.auditing.results import checked
from slipway.databases.postgresql.privileges import RoleRights

MEND = (
    "Let migrations run as the owner, and the service as a role of its own that was granted SELECT, INSERT, UPDATE and "
    "DELETE; name that role as `role` in [service.database]."
)


def role_item(rights: RoleRights) -> AuditItem:
    """The role must be neither superuser nor owner of the database or of tables; what else it may do is told."""
    problems = []
    if rights.superuser:
        problems.append(f"{rights.name} is a superuser")
    if rights.owns_database:
        problems.append(f"{rights.name} owns the database")
    problems += [f"{rights.name} owns the table {table}" for table in rights.tables]
    notes = [f"{rights.name} may create databases"] if rights.may_create_databases else []
    notes += [f"{rights.name} may create roles"] if rights.may_create_roles else []
    fine = f"{rights.name} is neither superuser nor owner."
    return checked("database-role", fine, "The service's role may do too much.", problems, MEND, notes)
