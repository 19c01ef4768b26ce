"""Who may what: rights, roles, grants, and the accounts, tokens and log entries that carry them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from slipway.core.errors import InvalidInput
from slipway.core.frozen import FrozenModel, ServiceName

Right = Literal["read", "operate", "approve", "administer"]
Role = Literal["viewer", "operator", "approver", "admin"]
RIGHTS: dict[Role, frozenset[Right]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "operate"}),
    "approver": frozenset({"read", "operate", "approve"}),
    "admin": frozenset({"read", "operate", "approve", "administer"}),
}
# Lower case only, and no sign that means something in HTML, a header or a shell: two people never look alike.
NAME = r"^[a-z0-9][a-z0-9._@+-]{1,99}$"
AccountName = Annotated[str, Field(pattern=NAME)]
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time; tests pass another clock."""
    return datetime.now(UTC)


def check_name(name: str) -> None:
    """Raise InvalidInput for what cannot be the name of an account or a token."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(f"{name!r} cannot be a name.", expected="2 to 100 lower-case letters, digits and . _ @ + -")


class Grant(FrozenModel):
    """A role, for all services (`services` is None) or for the named ones."""

    role: Role
    services: tuple[ServiceName, ...] | None = None

    def allows(self, right: Right, service: str | None) -> bool:
        """Whether the right holds for a service; None is what concerns every service, or none that is known."""
        return right in RIGHTS[self.role] and (self.services is None or service in self.services)

    @property
    def words(self) -> str:
        """The grant in words."""
        return f"{self.role} of {'all services' if self.services is None else ', '.join(self.services) or 'nothing'}"


class Account(FrozenModel):
    """A person who may sign in. Without a password only a one-time link lets them choose one."""

    name: AccountName
    grant: Grant
    has_password: bool
    disabled_at: datetime | None
    made_at: datetime
    made_by: str


class Token(FrozenModel):
    """What a machine shows instead of a password. `account` is who made it, and whose rights end it; None: the owner."""

    name: AccountName
    grant: Grant
    account: str | None
    made_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def person(self) -> str:
        """In whose name it acts."""
        return self.account or f"token {self.name}"


class AccessLogEntry(FrozenModel):
    """One line of the access log."""

    id: int
    at: datetime
    who: str
    how: str
    address: str
    what: str
    on: str
    outcome: str
