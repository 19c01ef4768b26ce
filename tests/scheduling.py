"""Which tests one process runs: those of a file, so that what they share is started once.

The tests of `tests/stack` share a stack, which takes half a minute to start. The slowest files are spread over all
processes, test by test. The marks of `--dist=loadgroup` cannot say this: pytest-xdist 3.8 does not see them under
pytest 9.2.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK = "tests/stack/"
SECOND = ("test_endings.py", "test_in_a_browser.py", "test_real_timing.py", "test_staging.py")  # about half of the time
SPREAD = (
    "tests/measurement/test_judge_on_recording.py",
    "tests/backfilling/test_backfill.py",
    "tests/migrations/test_migrating_a_deep_history.py",
    "tests/migrations/test_migrating_under_writes.py",
    "tests/migrations/test_rehearse_and_migrate.py",
    "tests/migrations/test_rehearse_and_migrate_django.py",
)


def group_of(nodeid: str) -> str:
    """The name of a test's group, whose tests run in one process, in their order."""
    file = nodeid.partition("::")[0]
    if file.startswith(STACK):
        return "second stack" if file.removeprefix(STACK) in SECOND else "stack"
    return nodeid if file in SPREAD else file


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole groups to processes, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """The scheduler of `--numprocesses`."""
    config.option.loadscopereorder = False
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the stacks, which take the longest; end with what fills the gaps."""
    order = ("stack", "second stack")

    def place(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return order.index(group) if group in order else 2 + (group == item.nodeid)

    items.sort(key=place)
