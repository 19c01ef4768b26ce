"""What each request needs: the one table. A request without a line here is refused, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.routing import compile_path

from slipway.accounts.grants import Right


class Scope(StrEnum):
    """For which service the right is needed."""

    OPEN = "no sign-in"
    ANY = "any service; what is shown is filtered"
    ALL = "all services"
    SERVICE = "the service in the path"
    CHANGE = "the service of the change in the path"
    RUN = "the service of the run"
    PARAMETERS = "the service in the parameters, or that of their change"


@dataclass(frozen=True)
class Permission:
    """One line: a request, the right it needs, and for which service. `what` is its name in the log."""

    method: str
    path: str
    right: Right | None
    scope: Scope
    what: str
    by_another: bool = False  # than who asked for the run
    _compiled: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", compile_path(self.path)[0])

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a path that this line is about, or None. It matches as the router does."""
        found = self._compiled.match(path)
        return None if found is None else found.groupdict()


def _open(method: str, path: str, what: str) -> Permission:
    return Permission(method, path, None, Scope.OPEN, what)


def _read(path: str, scope: Scope, what: str) -> Permission:
    return Permission("GET", path, "read", scope, what)


def _act(path: str, right: Right, scope: Scope, what: str, *, by_another: bool = False) -> Permission:
    return Permission("POST", path, right, scope, what, by_another)


ACTIONS: tuple[tuple[str, Right], ...] = (
    ("cancel", "operate"),
    ("pause", "operate"),
    ("resume", "operate"),
    ("retry", "operate"),
    ("rollback", "operate"),
    ("approve", "approve"),
    ("reject", "approve"),
)
PERMISSIONS: tuple[Permission, ...] = (
    _open("GET", "/health", "health"),
    _open("GET", "/ready", "readiness"),
    _open("GET", "/static/{path:path}", "what pages are made of"),
    _open("GET", "/pages/sign-in", "sign-in page"),
    _open("POST", "/pages/sign-in", "sign in"),
    _open("GET", "/pages/link/{key}", "one-time link"),
    _open("POST", "/pages/link/{key}", "choose a password"),
    Permission("POST", "/pages/sign-out", "read", Scope.ANY, "sign out"),
    _read("/openapi.json", Scope.ANY, "API description"),
    _read("/docs", Scope.ANY, "API pages"),
    _read("/docs/oauth2-redirect", Scope.ANY, "API pages"),
    _read("/redoc", Scope.ANY, "API pages"),
    _read("/jobs", Scope.ANY, "jobs"),
    _read("/jobs/{job}", Scope.ANY, "job"),
    Permission("PATCH", "/jobs/{job}", "administer", Scope.ALL, "switch job"),
    _act("/jobs/{job}/runs", "operate", Scope.PARAMETERS, "start run"),
    _read("/runs", Scope.ANY, "runs"),
    _read("/runs/{run_id}", Scope.RUN, "run"),
    _read("/runs/{run_id}/logs", Scope.RUN, "logs of a run"),
    _read("/runs/{run_id}/events", Scope.RUN, "events of a run"),
    *(
        _act(f"/runs/{{run_id}}/{action}", right, Scope.RUN, f"{action} run", by_another=action == "approve")
        for action, right in ACTIONS
    ),
    _read("/services/{service}/history", Scope.SERVICE, "history of a service"),
    _read("/", Scope.ANY, "overview"),
    _read("/pages/jobs", Scope.ANY, "page of all jobs"),
    _read("/pages/jobs/{job}", Scope.ANY, "page of a job"),
    _act("/pages/jobs/{job}", "operate", Scope.PARAMETERS, "start run"),
    _act("/pages/jobs/{job}/switch", "administer", Scope.ALL, "switch job"),
    _read("/pages/services", Scope.ANY, "page of all services"),
    _read("/pages/services/{service}", Scope.SERVICE, "page of a service"),
    _read("/pages/runs", Scope.ANY, "page of runs"),
    _read("/pages/runs/{run_id}", Scope.RUN, "page of a run"),
    _read("/pages/runs/{run_id}/logs", Scope.RUN, "logs of a run"),
    _read("/pages/runs/{run_id}/picture.svg", Scope.RUN, "picture of a run"),
    _read("/pages/changes", Scope.ANY, "changes"),
    _read("/pages/changes/{change}", Scope.CHANGE, "page of a change"),
    _read("/pages/changes/{change}/picture.svg", Scope.CHANGE, "picture of a change"),
    *(
        Permission(method, f"/pages/runs/{{run_id}}/{action}", right, Scope.RUN, f"{action} run", action == "approve")
        for action, right in ACTIONS
        for method in ("GET", "POST")  # a page that says what will happen, and its button
    ),
    Permission("GET", "/access/log", "administer", Scope.ALL, "access log"),
    Permission("GET", "/pages/access", "administer", Scope.ALL, "access page"),
    _act("/pages/access/people", "administer", Scope.ALL, "invite person"),
    _act("/pages/access/people/{name}", "administer", Scope.ALL, "change account"),
    _act("/pages/access/tokens", "administer", Scope.ALL, "make token"),
    _act("/pages/access/tokens/{name}/revoke", "administer", Scope.ALL, "revoke token"),
)


def permission_of(method: str, path: str) -> tuple[Permission, dict[str, str]] | None:
    """The line for a request with the parameters of its path; None when there is none. HEAD is a GET."""
    asked = "GET" if method == "HEAD" else method
    for need in PERMISSIONS:
        if need.method == asked and (found := need.match(path)) is not None:
            return need, found
    return None


def methods_of(path: str) -> list[str]:
    """The methods that lines name for a path."""
    return sorted({need.method for need in PERMISSIONS if need.match(path) is not None})


def as_markdown() -> str:
    """The table as it stands in docs/access.md."""
    rows = [
        f"| `{need.method} {need.path}` | {need.right or '–'} | {need.scope}"
        f"{'; not by who asked for the run' if need.by_another else ''} |"
        for need in PERMISSIONS
    ]
    return "\n".join(["| request | right | for |", "|---|---|---|", *rows])
