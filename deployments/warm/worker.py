"""The worker type `slipway`: as Prefect's process worker, but a run starts in a fork of a warm parent.

Found by `prefect worker start --type slipway` through the entry point in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from deployments.processes import mark
from deployments.warm.nursery import Nursery, ParentDied

KILLED = -signal.SIGKILL


class WarmResult(BaseWorkerResult):
    """How a run's process ended."""


class WarmWorker(BaseWorker[BaseJobConfiguration, BaseVariables, WarmResult]):
    """Runs each flow run in a process of its own, forked from a parent that has everything imported."""

    type = "slipway"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables
    _display_name = "Slipway (warm)"
    _description = "Starts flow runs in processes forked from a warm parent, within a second."

    _nursery: Nursery
    _warming: asyncio.Task[None]

    async def setup(self) -> None:
        """Begin to warm a parent; a run that comes earlier waits for it."""
        self._nursery = Nursery()
        self._warming = asyncio.create_task(self._nursery.keep_warm())
        await super().setup()

    async def teardown(self, *exc_info: Any) -> None:
        """End the parents; their runs die with them and go on elsewhere or later."""
        self._warming.cancel()
        await self._nursery.close()
        await super().teardown(*exc_info)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,  # the base says int, its workers pass text
    ) -> WarmResult:
        """Start the run's process and wait for its end; the base class proposes Crashed for an exit code other than 0."""
        environment = {name: value for name, value in {**os.environ, **configuration.env}.items() if value is not None}
        pid, ended = await self._nursery.start(str(flow_run.id), environment)
        identifier = infrastructure_id(pid)
        if task_status is not None:
            task_status.started(identifier)
        try:
            code = await ended
        except ParentDied:
            code = KILLED
        return WarmResult(identifier=identifier, status_code=code)

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: BaseJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End a run's process: asked first, killed after the grace. Raises InfrastructureNotFound when it has ended."""
        host, pid, started = parse_infrastructure_id(infrastructure_pid)
        if host != socket.gethostname():
            raise InfrastructureNotAvailable(f"the process runs on {host}")
        if not is_alive(infrastructure_pid):
            raise InfrastructureNotFound(f"process {pid} has ended")
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while mark(pid) == (pid, started):
                    await asyncio.sleep(0.1)
                return
        os.kill(pid, signal.SIGKILL)


def infrastructure_id(pid: int) -> str:
    """A process as `host:pid:start`, which no later process can be mistaken for."""
    found = mark(pid)
    return f"{socket.gethostname()}:{pid}:{found[1] if found else 0.0}"


def parse_infrastructure_id(identifier: str) -> tuple[str, int, float]:
    """(host, pid, time of its start). Raises ValueError for what is not one of ours."""
    host, pid, started = identifier.rsplit(":", 2)
    return host, int(pid), float(started)


def is_alive(identifier: str) -> bool:
    """Whether the process of an identifier of this host still runs."""
    _, pid, started = parse_infrastructure_id(identifier)
    return mark(pid) == (pid, started)
