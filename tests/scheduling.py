"""Distribute the tests to processes: one process runs all tests of a file, so that shared fixtures start once.

The tests of `tests/stack` share a stack, which takes half a minute to start. The tests of the slowest files are spread
over all processes. `--dist=loadgroup` cannot do this, because pytest-xdist 3.8 does not see its marks under pytest 9.2.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK = "tests/stack/"
SECOND_STACK = (
    "test_endings.py",
    "test_installed.py",
    "test_in_a_browser.py",
    "test_real_timing.py",
    "test_staging.py",
)  # about half of the stack tests' time
OTHER_TESTS_NICE = 5  # lower CPU priority for other tests while stacks run; a stack needs a tenth of a core
SPREAD = (
    "tests/measurement/test_judge_on_recording.py",
    "tests/backfilling/test_backfill.py",
    "tests/migrations/test_migrating_a_deep_history.py",
    "tests/migrations/test_migrating_under_writes.py",
    "tests/migrations/test_rehearse_and_migrate.py",
    "tests/migrations/test_rehearse_and_migrate_django.py",
)


def group_of(nodeid: str) -> str:
    """Return the name of a test's group. One process runs all tests of a group, in their order."""
    file = nodeid.partition("::")[0]
    if file.startswith(STACK):
        return "second stack" if file.removeprefix(STACK) in SECOND_STACK else "stack"
    return nodeid if file in SPREAD else file


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Assign whole groups to processes, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """Return the scheduler for `--numprocesses`."""
    config.option.loadscopereorder = False
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests: first the stacks, which take longest, last the single tests of the slowest files, which fill gaps."""
    first_groups = ("stack", "second stack")

    def sort_key(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return first_groups.index(group) if group in first_groups else 2 + (group == item.nodeid)

    items.sort(key=sort_key)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Lower the CPU priority of other tests, so that the stack tests finish earlier. It stays low for that process."""
    is_xdist_worker = hasattr(item.config, "workerinput")
    if is_xdist_worker and not item.nodeid.startswith(STACK) and os.nice(0) < OTHER_TESTS_NICE:
        os.nice(OTHER_TESTS_NICE - os.nice(0))
