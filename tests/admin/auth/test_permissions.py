"""The permission table is complete and documented."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.routing import Mount, Route

from slipway.admin.app import create_app
from slipway.admin.auth.permissions import PERMISSIONS, as_markdown, permission_of


def requests(routes: Sequence[Any] | None = None, below: str = "") -> set[tuple[str, str]]:
    """Return every request for which the app has a route."""
    requests_found: set[tuple[str, str]] = set()
    for route in create_app().routes if routes is None else routes:
        if isinstance(route, Mount):
            requests_found.add(("GET", f"{below}{route.path}/{{path:path}}"))
        elif hasattr(route, "original_router"):  # FastAPI's wrapper for routers from include_router
            requests_found |= requests(route.original_router.routes, below + route.include_context.prefix)
        elif isinstance(route, Route):
            requests_found |= {(method, below + route.path) for method in route.methods or () if method != "HEAD"}
        else:
            raise AssertionError(f"unknown kind of route: {route}")
    return requests_found


def test_every_route_has_a_permission_entry() -> None:
    """A request without an entry would be refused to all callers."""
    entries = {(permission.method, permission.path) for permission in PERMISSIONS}
    assert requests() - entries == set(), "these routes have no entry in slipway/admin/auth/permissions.py"


def test_every_permission_entry_has_a_route() -> None:
    """The table has no entry for a removed endpoint."""
    entries = {(permission.method, permission.path) for permission in PERMISSIONS}
    assert entries - requests() == set(), "these entries of slipway/admin/auth/permissions.py have no route"


def test_each_entry_is_found_by_its_path() -> None:
    """No entry hides another one."""
    assert len({(permission.method, permission.path) for permission in PERMISSIONS}) == len(PERMISSIONS)
    for permission in PERMISSIONS:
        path = permission.path.replace("{path:path}", "a/b").replace("{", "").replace("}", "")
        match = permission_of(permission.method, path)
        assert match is not None and match[0] is permission, permission


def test_the_documented_table_is_current() -> None:
    """The access guide contains the current table."""
    assert as_markdown() in (Path(__file__).parents[3] / "docs" / "reference" / "access.md").read_text(encoding="utf-8")
