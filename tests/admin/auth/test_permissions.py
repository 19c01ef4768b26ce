"""The table of what each request needs: complete, and told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.routing import Mount, Route

from slipway.admin.app import create_app
from slipway.admin.auth.permissions import PERMISSIONS, as_markdown, permission_of


def requests(routes: Sequence[Any] | None = None, below: str = "") -> set[tuple[str, str]]:
    """Every request that the app has a route for."""
    found: set[tuple[str, str]] = set()
    for route in create_app().routes if routes is None else routes:
        if isinstance(route, Mount):
            found.add(("GET", f"{below}{route.path}/{{path:path}}"))
        elif hasattr(route, "original_router"):  # as FastAPI keeps what include_router was given
            found |= requests(route.original_router.routes, below + route.include_context.prefix)
        elif isinstance(route, Route):
            found |= {(method, below + route.path) for method in route.methods or () if method != "HEAD"}
        else:
            raise AssertionError(f"a route of a kind that nobody has thought of: {route}")
    return found


def test_every_route_has_a_line() -> None:
    """A request without one would be refused to everybody."""
    lines = {(need.method, need.path) for need in PERMISSIONS}
    assert requests() - lines == set(), "these routes have no line in slipway/admin/auth/permissions.py"


def test_every_line_has_a_route() -> None:
    """A line for a request that is no more would promise something."""
    lines = {(need.method, need.path) for need in PERMISSIONS}
    assert lines - requests() == set(), "these lines of slipway/admin/auth/permissions.py have no route"


def test_a_line_is_found_by_its_own_path() -> None:
    """No line hides another: what a path needs is what its own line says."""
    assert len({(need.method, need.path) for need in PERMISSIONS}) == len(PERMISSIONS)
    for need in PERMISSIONS:
        path = need.path.replace("{path:path}", "a/b").replace("{", "").replace("}", "")
        found = permission_of(need.method, path)
        assert found is not None and found[0] is need, need


def test_the_table_is_documented() -> None:
    """docs/access.md has the table as it is."""
    assert as_markdown() in (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")
