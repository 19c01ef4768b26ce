"""The caller of a request, authenticated by a session, a proxy or a token, and the caller's permissions."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from slipway.accounts.grants import RIGHTS, Grant, Right
from slipway.admin.problems import Forbidden

CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)  # of the current request


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. `person` is the name under which the caller acts: for a token, the account that created it."""

    person: str
    how: Literal["session", "token", "proxy"]
    grants: tuple[Grant, ...]
    token: str = ""  # the token's name
    csrf: str = ""  # the CSRF token in the forms of this session

    def may(self, right: Right, service: str | None) -> bool:
        """Return whether the caller has a right for a service. None stands for all services."""
        return any(grant.allows(right, service) for grant in self.grants)

    def may_somewhere(self, right: Right) -> bool:
        """Return whether the caller has a right for at least one service."""
        return any(right in RIGHTS[grant.role] for grant in self.grants)

    def may_everywhere(self, right: Right) -> bool:
        """Return whether the caller has a right for all services."""
        return self.may(right, None)

    def readable(self, service: str | None) -> bool:
        """Return whether the caller may see the runs and changes of a service, in lists and streams."""
        return self.may("read", service)

    @property
    def log_label(self) -> str:
        """Return how the caller authenticated, for the access log."""
        return f"token {self.token}" if self.token else self.how


def caller_of(request: Request) -> Caller:
    """Return the caller of a request. Raises `Forbidden` if the guard did not authenticate the request."""
    caller = caller_in(request.scope)
    if caller is None:
        raise Forbidden("The request is not authenticated.", expected="A request that the guard has checked.")
    return caller


def caller_in(scope: Mapping[str, Any]) -> Caller | None:
    """Return the caller in an ASGI scope; None if the request is not authenticated."""
    caller: Caller | None = scope.get("slipway.caller")
    return caller


def add_log_detail(request: Request, detail: str) -> None:
    """Add a detail to the request's entry in the access log, such as the name in a form. Never pass a secret."""
    request.scope["slipway.log_detail"] = detail


def require_right(right: Right, service: str | None) -> Caller:
    """Return the current caller. Raises `Forbidden` without a caller, or if the caller lacks the right for the service."""
    caller = CALLER.get()
    if caller is None or not caller.may(right, service):
        raise forbidden(caller, right, service)
    return caller


def forbidden(caller: Caller | None, right: Right, service: str | None) -> Forbidden:
    """Return the error for a caller without the right."""
    person = caller.person if caller else "A caller without sign-in"
    target = "all services" if service is None else service
    return Forbidden(f"{person} may not {right} {target}.", expected=f"The right to {right}, which an admin can grant.")


async def _caller(request: Request) -> Caller:  # async, because FastAPI calls sync dependencies in a thread
    return caller_of(request)


CallerDep = Annotated[Caller, Depends(_caller)]
