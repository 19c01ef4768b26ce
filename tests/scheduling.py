"""Which tests one process runs: those of a file, so that what they share is started once.

The tests of `tests/stack` share a stack, which takes half a minute to start. The slowest files are spread over all
processes, test by test. The marks of `--dist=loadgroup` cannot say this: pytest-xdist 3.8 does not see them under
pytest 9.2.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK = "tests/stack/"
SECOND = (
    "test_endings.py",
    "test_installed.py",
    "test_in_a_browser.py",
    "test_real_timing.py",
    "test_staging.py",
)  # about half of the time
GIVING_WAY = 5  # how much nicer a process is that runs other tests: while stacks run, they cost a tenth of a core each
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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let other tests give way to the stacks, so that these end early; a process that has begun to does so for good."""
    one_of_several = hasattr(item.config, "workerinput")
    if one_of_several and not item.nodeid.startswith(STACK) and os.nice(0) < GIVING_WAY:
        os.nice(GIVING_WAY - os.nice(0))
