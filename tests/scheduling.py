"""Which tests one process runs. The tests of `tests/stack` share a stack, which takes half a minute to start.

The marks of `--dist=loadgroup` would say the same, but pytest-xdist 3.8 does not see them under pytest 9.2.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK = "tests/stack/"
SECOND = ("test_endings.py", "test_in_a_browser.py", "test_real_timing.py", "test_staging.py")  # about half of the time


def group_of(nodeid: str) -> str:
    """The tests of one group run in one process, in their order; a test outside of `tests/stack` is a group by itself."""
    file = nodeid.partition("::")[0]
    if not file.startswith(STACK):
        return nodeid
    return "second stack" if file.removeprefix(STACK) in SECOND else "stack"


class ByStack(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole groups to processes, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    """The scheduler of `--numprocesses`."""
    return ByStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the first stack, whose tests ship the changes in their order."""
    order = ("stack", "second stack")
    items.sort(key=lambda item: order.index(group) if (group := group_of(item.nodeid)) in order else len(order))
