"""The worker's side of the fork server: keep a fork server process with the current code, and start runs in it."""

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

PACKAGES = ("slipway", "slipway.tasks", "slipway.flows", "slipway.deployments")  # rglob does not follow links
START_WITHIN_S = 120
CHECK_EVERY_S = 1.0


class ForkServerDied(RuntimeError):
    """The fork server process ended, and all runs that it had forked ended with it."""


class ForkServer:
    """Start runs in a fork server process that has imported the current code."""

    def __init__(self) -> None:
        self._current: _ServerProcess | None = None
        self._digest = ""
        self._lock = asyncio.Lock()
        self._all: list[_ServerProcess] = []

    async def start(self, run: str, environment: Mapping[str, str]) -> tuple[int, asyncio.Future[int]]:
        """Start a run. Return its pid and a future of its exit code. Raises ForkServerDied."""
        async with self._lock:
            process = await self._current_process()
        return await process.start(run, environment)

    async def keep_warm(self) -> None:
        """Keep a fork server process with the current code ready, also while no run starts."""
        while True:
            async with self._lock:
                await self._current_process()
            await asyncio.sleep(CHECK_EVERY_S)

    async def close(self) -> None:
        """Stop every fork server process and all its runs."""
        for process in self._all:
            await process.close()

    async def _current_process(self) -> _ServerProcess:
        digest = code_digest()
        if self._current is None or not self._current.alive() or digest != self._digest:
            if self._current is not None:
                self._current.retire()
            self._current, self._digest = await _ServerProcess.spawn(), digest
            self._all = [process for process in self._all if process.alive()] + [self._current]
        return self._current


class _ServerProcess:
    """One fork server process and the runs that it has started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: dict[str, asyncio.Future[int]] = {}
        self._ended: dict[str, asyncio.Future[int]] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def spawn(cls) -> _ServerProcess:
        # One thread only: OpenBLAS would start threads when SciPy is imported, and a fork would lose them.
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
            raise ForkServerDied("The fork server exited before it was ready. Its output is in the worker's log.")
        return cls(process)

    def alive(self) -> bool:
        return self._process.returncode is None and not self._listener.done()

    async def start(self, run: str, environment: Mapping[str, str]) -> tuple[int, asyncio.Future[int]]:
        loop = asyncio.get_running_loop()
        started, ended = loop.create_future(), loop.create_future()
        self._started[run], self._ended[run] = started, ended
        if not self.alive():
            raise ForkServerDied("The fork server has exited.")
        self._send({"run": run, "environment": dict(environment)})
        return await started, ended

    def retire(self) -> None:
        """Let the process exit after its last run has ended."""
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
                future.set_exception(ForkServerDied("The fork server has exited."))


def code_digest() -> str:
    """Return a digest that changes with any source file. It covers names, sizes and modification times, not contents."""
    digest = hashlib.sha256()
    folders = [Path(str(importlib.import_module(name).__file__)).resolve().parent for name in PACKAGES]
    for path in [FILE, *sorted(path for folder in folders for path in folder.rglob("*.py"))]:
        stat = path.stat()
        digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
