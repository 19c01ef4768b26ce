"""Rights, roles and grants, and the accounts, tokens and access log entries. Pure."""

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
# Lower case only, so that two names never look alike; no character that is special in HTML, a header or a shell.
NAME = r"^[a-z0-9][a-z0-9._@+-]{1,99}$"
AccountName = Annotated[str, Field(pattern=NAME)]
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current time. Tests pass another clock."""
    return datetime.now(UTC)


def check_name(name: str) -> None:
    """Raise `InvalidInput` if the name is not valid for an account or a token."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            f"{name!r} is not a valid name.", expected="2 to 100 lower-case letters, digits and . _ @ + -"
        )


class Grant(FrozenModel):
    """A role for all services (`services` is None) or for the named services."""

    role: Role
    services: tuple[ServiceName, ...] | None = None

    def allows(self, right: Right, service: str | None) -> bool:
        """Return whether the grant includes a right for a service. None stands for all services, or for an unknown service."""
        return right in RIGHTS[self.role] and (self.services is None or service in self.services)

    @property
    def description(self) -> str:
        """Return the grant as text, such as `operator of shop`."""
        return f"{self.role} of {'all services' if self.services is None else ', '.join(self.services) or 'nothing'}"


class Account(FrozenModel):
    """A person's account. Without a password, the person needs a one-time link to choose one."""

    name: AccountName
    grant: Grant
    has_password: bool
    disabled_at: datetime | None
    made_at: datetime
    made_by: str


class Token(FrozenModel):
    """An API token of a program.

    `account` is the account that created the token; the token ends when this account loses rights. None stands for the
    owner of the database.
    """

    name: AccountName
    grant: Grant
    account: str | None
    made_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def person(self) -> str:
        """Return the name under which the token acts."""
        return self.account or f"token {self.name}"


class AccessLogEntry(FrozenModel):
    """One entry of the access log."""

    id: int
    at: datetime
    who: str
    how: str
    address: str
    what: str
    on: str
    outcome: str
