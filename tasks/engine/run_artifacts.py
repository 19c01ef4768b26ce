"""What hangs at a run in the Prefect UI beside what its steps leave: a link to its page here, and how far it is.

Each call is made in a thread of its own: the client tries for about a minute while the server is away, and no run waits
for a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Thread
from typing import cast
from uuid import UUID

from prefect.artifacts import create_link_artifact, create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from slipway.backfilling.outcomes import BackfillProgress
from slipway.core.settings import Settings
from slipway.runs.attempts import Attempt

SHOWN_WITHIN_S = 5.0  # so long the end of a run waits for what is under way


class BackgroundCalls:
    """Makes calls beside the work, one at a time: what comes while one is under way is left out."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def __call__(self, act: Callable[[], object]) -> bool:
        """Begin a call; false when the one before is still under way."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = Thread(target=copy_context().run, args=(_tried, act), name="show beside", daemon=True)
        self._thread.start()
        return True

    def wait(self) -> None:
        """Let what is under way come to its end, if it does so soon."""
        if self._thread is not None:
            self._thread.join(SHOWN_WITHIN_S)


@contextmanager
def linked(attempt: Attempt) -> Iterator[None]:
    """Hang a link to the run's page in the admin service up at the run; a resumed run has it already."""
    admin, beside = Settings.from_environment().admin_url, BackgroundCalls()
    if admin and attempt.number == 1:
        address = f"{admin.rstrip('/')}/pages/runs/{attempt.run_id}"
        beside(
            lambda: create_link_artifact(address, "This run in Slipway", key="slipway", description="The same story")
        )
    try:
        yield
    finally:
        beside.wait()


class ProgressBar:
    """A backfill's progress as a bar of its run, moved by whole per cents."""

    def __init__(self) -> None:
        self._beside = BackgroundCalls()
        self._bar: UUID | None = None
        self._wanted = self._shown = -1

    def show(self, progress: BackfillProgress) -> None:
        """Move the bar, unless it stands there already or the last move is still under way."""
        self._wanted = 100 * progress.rows_passed // max(progress.total, progress.rows_passed, 1)
        if self._wanted != self._shown:
            self._beside(self._move)

    def end(self) -> None:
        """See that the bar stands where the work does."""
        self._beside.wait()
        if self._wanted != self._shown and self._beside(self._move):
            self._beside.wait()

    def _move(self) -> None:
        percent = self._wanted
        if self._bar is None:
            made = create_progress_artifact(float(percent), key="rows", description="Rows that are done")
            self._bar = cast(UUID, made)  # a coroutine only inside an event loop
        else:
            update_progress_artifact(self._bar, float(percent))
        self._shown = percent


def _tried(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception:
        get_run_logger().warning("something could not be shown in the Prefect UI", exc_info=True)
