"""The worker's side of its warm parents: one that serves, started anew when the code has changed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from prefect.settings import get_current_settings

from slipway.deployments.jobs_file import FILE

PACKAGES = ("slipway", "slipway.tasks", "slipway.flows", "slipway.deployments")  # a search does not follow links
START_WITHIN_S = 120
LOOK_EVERY_S = 1.0


class ForkServerDied(RuntimeError):
    """The warm parent ended, and with it whatever it had forked."""


class ForkServer:
    """Starts runs in the parent that has the code as it stands in the files now."""

    def __init__(self) -> None:
        self._current: _ServerProcess | None = None
        self._digest = ""
        self._changing = asyncio.Lock()
        self._all: list[_ServerProcess] = []

    async def start(self, run: str, environment: Mapping[str, str]) -> tuple[int, asyncio.Future[int]]:
        """Start a run; the answer is its pid and, later, its exit code. Raises ForkServerDied."""
        async with self._changing:
            parent = await self._parent()
        return await parent.start(run, environment)

    async def keep_warm(self) -> None:
        """Have a parent ready that has the code as it stands, also when no run comes for long."""
        while True:
            async with self._changing:
                await self._parent()
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """End every parent, and with it every run."""
        for parent in self._all:
            await parent.close()

    async def _parent(self) -> _ServerProcess:
        digest = code_digest()
        if self._current is None or not self._current.alive() or digest != self._digest:
            if self._current is not None:
                self._current.retire()
            self._current, self._digest = await _ServerProcess.begin(), digest
            self._all = [parent for parent in self._all if parent.alive()] + [self._current]
        return self._current


class _ServerProcess:
    """One parent process and the runs that it has started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: dict[str, asyncio.Future[int]] = {}
        self._ended: dict[str, asyncio.Future[int]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def begin(cls) -> _ServerProcess:
        # One thread only: OpenBLAS would start its own when SciPy is imported, and a fork would lose them.
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        environment = {**os.environ, **settings, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "slipway.deployments.worker.fork_server"),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), START_WITHIN_S)
        if not ready:
            raise ForkServerDied("the warm parent ended before it was ready; its words are in the worker's log")
        return cls(process)

    def alive(self) -> bool:
        return self._process.returncode is None and not self._listening.done()

    async def start(self, run: str, environment: Mapping[str, str]) -> tuple[int, asyncio.Future[int]]:
        loop = asyncio.get_running_loop()
        started, ended = loop.create_future(), loop.create_future()
        self._started[run], self._ended[run] = started, ended
        if not self.alive():
            raise ForkServerDied("the warm parent has ended")
        self._send({"run": run, "environment": dict(environment)})
        return await started, ended

    def retire(self) -> None:
        """Let it end when its last run has ended."""
        if self.alive():
            self._send({"retire": True})

    async def close(self) -> None:
        if self.alive():
            assert self._process.stdin is not None
            self._process.stdin.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), 10)

    def _send(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "started" in message:
                self._started.pop(message["started"]).set_result(message["pid"])
            elif "ended" in message:
                self._ended.pop(message["ended"]).set_result(message["code"])
        await self._process.wait()
        for future in [*self._started.values(), *self._ended.values()]:
            if not future.done():
                future.set_exception(ForkServerDied("the warm parent has ended"))


def code_digest() -> str:
    """What changes when any source file does: names, sizes and times of change, not the contents."""
    digest = hashlib.sha256()
    places = [Path(str(importlib.import_module(name).__file__)).resolve().parent for name in PACKAGES]
    for path in [FILE, *sorted(path for place in places for path in place.rglob("*.py"))]:
        seen = path.stat()
        digest.update(f"{path} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()
