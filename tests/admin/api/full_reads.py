"""Control over the full reads of Prefect, so that a test can observe the effect of events alone."""

from __future__ import annotations

import asyncio
from threading import Lock

import pytest

from slipway.admin.synchroniser import Synchroniser
from tests.admin.api.served import wait_for


class FullReads:
    """Counts and blocks the full reads of all admin processes in a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = Lock()
        self._held = False
        self._running = 0
        resync = Synchroniser.resync

        async def counted(synchroniser: Synchroniser) -> None:
            while not self._begin():
                await asyncio.sleep(0.01)
            try:
                await resync(synchroniser)
            finally:
                with self._lock:
                    self._running -= 1

        monkeypatch.setattr(Synchroniser, "resync", counted)

    def hold(self) -> None:
        """Block new full reads, and return once the running ones have ended."""
        with self._lock:
            self._held = True
        wait_for(lambda: self._running == 0, "the full reads to end")

    def _begin(self) -> bool:
        with self._lock:
            self._running += not self._held
            return not self._held
