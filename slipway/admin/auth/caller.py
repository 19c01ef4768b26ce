"""Who asks: a person in a session, behind a proxy or by a token, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from slipway.accounts.grants import RIGHTS, Grant, Right
from slipway.admin.problems import Forbidden

CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)  # of the request at work


@dataclass(frozen=True)
class Caller:
    """One who asks. `person` is in whose name it is done: a token acts in the name of the account that made it."""

    person: str
    how: Literal["session", "token", "proxy"]
    grants: tuple[Grant, ...]
    token: str = ""  # its name
    csrf: str = ""  # what this session's forms carry

    def may(self, right: Right, service: str | None) -> bool:
        """Whether they may do something to a service; None is what concerns all of them."""
        return any(grant.allows(right, service) for grant in self.grants)

    def may_somewhere(self, right: Right) -> bool:
        """Whether they have a right for any service at all."""
        return any(right in RIGHTS[grant.role] for grant in self.grants)

    def may_everywhere(self, right: Right) -> bool:
        """Whether they have a right for all services."""
        return self.may(right, None)

    def readable(self, service: str | None) -> bool:
        """Whether they may see what belongs to a service; for lists and streams."""
        return self.may("read", service)

    @property
    def words(self) -> str:
        """How they came, for the log."""
        return f"token {self.token}" if self.token else self.how


def caller_of(request: Request) -> Caller:
    """Who asks. Raises Forbidden where the guard has let nobody in: no request gets here without it."""
    found = seen(request.scope)
    if found is None:
        raise Forbidden("It is not known who asks.", expected="A request that went through the guard.")
    return found


def seen(scope: Mapping[str, Any]) -> Caller | None:
    """Who asks, where that is known; a stranger is nobody."""
    found: Caller | None = scope.get("slipway.caller")
    return found


def about(request: Request, what: str) -> None:
    """Tell the log more than the path does, such as the name in a form; never a secret."""
    request.scope["slipway.about"] = what


def demand(right: Right, service: str | None) -> Caller:
    """Who asks, if they have the right for a service. Raises Forbidden; also when nobody is known to ask."""
    caller = CALLER.get()
    if caller is None or not caller.may(right, service):
        raise refused(caller, right, service)
    return caller


def refused(caller: Caller | None, right: Right, service: str | None) -> Forbidden:
    """What somebody is told who has not the right."""
    who = caller.person if caller else "Nobody"
    about = "all services" if service is None else service
    return Forbidden(f"{who} may not {right} {about}.", expected=f"The right to {right}, which an admin gives.")


async def _caller(request: Request) -> Caller:  # not async, it would be called in a thread, for each request
    return caller_of(request)


CallerDep = Annotated[Caller, Depends(_caller)]
