"""Artifacts of a whole run in the Prefect UI: a link to its page in the admin service, and a progress bar.

Each call runs in its own thread: Prefect's client retries for about a minute while the server is unavailable, and no run
waits for an artifact.
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

SHOW_TIMEOUT_S = 5.0  # the longest time that the end of a run waits for a running call


class BackgroundCalls:
    """Runs calls in the background, one at a time. A call that arrives while another is running is skipped."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def __call__(self, call: Callable[[], object]) -> bool:
        """Start a call and return True, or return False if the previous call is still running."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = Thread(target=copy_context().run, args=(_run_safely, call), name="background call", daemon=True)
        self._thread.start()
        return True

    def wait(self) -> None:
        """Wait up to 5 s for a running call."""
        if self._thread is not None:
            self._thread.join(SHOW_TIMEOUT_S)


@contextmanager
def linked(attempt: Attempt) -> Iterator[None]:
    """Add a link to the run's page in the admin service as a Prefect artifact. A resumed run already has one."""
    admin_url, background = Settings.from_environment().admin_url, BackgroundCalls()
    if admin_url and attempt.number == 1:
        url = f"{admin_url.rstrip('/')}/pages/runs/{attempt.run_id}"
        background(
            lambda: create_link_artifact(
                url, "This run in Slipway", key="slipway", description="The run's page in the admin service"
            )
        )
    try:
        yield
    finally:
        background.wait()


class ProgressBar:
    """The progress of a backfill as a progress bar of its run, in whole per cents."""

    def __init__(self) -> None:
        self._background = BackgroundCalls()
        self._artifact_id: UUID | None = None
        self._current = self._shown = -1

    def show(self, progress: BackfillProgress) -> None:
        """Move the bar, unless it already shows the progress or the last update is still running."""
        self._current = 100 * progress.rows_passed // max(progress.total, progress.rows_passed, 1)
        if self._current != self._shown:
            self._background(self._update)

    def end(self) -> None:
        """Update the bar to the final progress."""
        self._background.wait()
        if self._current != self._shown and self._background(self._update):
            self._background.wait()

    def _update(self) -> None:
        percent = self._current
        if self._artifact_id is None:
            artifact_id = create_progress_artifact(float(percent), key="rows", description="Rows done")
            self._artifact_id = cast(UUID, artifact_id)  # a coroutine only inside an event loop
        else:
            update_progress_artifact(self._artifact_id, float(percent))
        self._shown = percent


def _run_safely(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:
        get_run_logger().warning("Could not update an artifact in the Prefect UI", exc_info=True)
