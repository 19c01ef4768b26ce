"""The permission table: the right that each request needs. A request without an entry is refused to every caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.routing import compile_path

from slipway.accounts.grants import Right


class Scope(StrEnum):
    """The services for which a caller needs the right."""

    OPEN = "no sign-in"
    ANY = "any service; the response is filtered"
    ALL = "all services"
    SERVICE = "the service in the path"
    CHANGE = "the service of the change in the path"
    RUN = "the service of the run"
    PARAMETERS = "the service in the parameters, or the service of their change"


@dataclass(frozen=True)
class Permission:
    """One entry: a request, the right that it needs, and for which service. `action` is its name in the access log."""

    method: str
    path: str
    right: Right | None
    scope: Scope
    action: str
    by_another: bool = False  # the requester of the run is refused
    _compiled: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", compile_path(self.path)[0])

    def match(self, path: str) -> dict[str, str] | None:
        """Return the path parameters if the path matches this entry, else None. Matches as the router does."""
        match = self._compiled.match(path)
        return None if match is None else match.groupdict()


def _open(method: str, path: str, action: str) -> Permission:
    return Permission(method, path, None, Scope.OPEN, action)


def _read(path: str, scope: Scope, action: str) -> Permission:
    return Permission("GET", path, "read", scope, action)


def _act(path: str, right: Right, scope: Scope, action: str, *, by_another: bool = False) -> Permission:
    return Permission("POST", path, right, scope, action, by_another)


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
    _open("GET", "/static/{path:path}", "static files"),
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
        for method in ("GET", "POST")  # a confirmation page and its button
    ),
    Permission("GET", "/access/log", "administer", Scope.ALL, "access log"),
    Permission("GET", "/pages/access", "administer", Scope.ALL, "access page"),
    _act("/pages/access/people", "administer", Scope.ALL, "invite person"),
    _act("/pages/access/people/{name}", "administer", Scope.ALL, "change account"),
    _act("/pages/access/tokens", "administer", Scope.ALL, "make token"),
    _act("/pages/access/tokens/{name}/revoke", "administer", Scope.ALL, "revoke token"),
)


def permission_of(method: str, path: str) -> tuple[Permission, dict[str, str]] | None:
    """Return the entry for a request and its path parameters; None without an entry. HEAD counts as GET."""
    table_method = "GET" if method == "HEAD" else method
    for permission in PERMISSIONS:
        if permission.method == table_method and (params := permission.match(path)) is not None:
            return permission, params
    return None


def methods_of(path: str) -> list[str]:
    """Return the methods that the table allows for a path."""
    return sorted({permission.method for permission in PERMISSIONS if permission.match(path) is not None})


def as_markdown() -> str:
    """Return the table as Markdown, as in docs/reference/access.md."""
    rows = [
        f"| `{permission.method} {permission.path}` | {permission.right or '–'} | {permission.scope}"
        f"{'; not by the requester of the run' if permission.by_another else ''} |"
        for permission in PERMISSIONS
    ]
    return "\n".join(["| request | right | for |", "|---|---|---|", *rows])
