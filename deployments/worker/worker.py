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
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from slipway.core.settings import Settings
from slipway.deployments.processes import mark
from slipway.deployments.worker.fork_client import ForkServer, ForkServerDied
from slipway.deployments.worker.process_id import infrastructure_id, is_alive, parse_infrastructure_id
from slipway.deployments.worker.resuming import Resumer
from slipway.runs.attempts import Attempts
from slipway.runs.store import Store

KILLED = -signal.SIGKILL
LOOK_EVERY_S = 1.5


class WarmResult(BaseWorkerResult):
    """How a run's process ended."""


class WarmWorker(BaseWorker[BaseJobConfiguration, BaseVariables, WarmResult]):
    """Runs each flow run in a process of its own, forked from a parent that has everything imported."""

    type = "slipway"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables
    _display_name = "Slipway (warm)"
    _description = "Starts flow runs in processes forked from a warm parent, within a second."

    _nursery: ForkServer
    _store: Store
    _in_flight: set[UUID]
    _background: list[asyncio.Task[None]]

    async def setup(self) -> None:
        """Begin to warm a parent, and to look after runs that crash; a run that comes earlier waits for the parent."""
        self._nursery = ForkServer()
        self._in_flight = set()
        self._store = Store(Settings.from_environment().database_url)
        await super().setup()
        self._background = [
            asyncio.create_task(self._nursery.keep_warm()),
            asyncio.create_task(self._keep_resuming()),
        ]

    async def teardown(self, *exc_info: Any) -> None:
        """End the parents; their runs die with them and go on elsewhere or later."""
        for task in self._background:
            task.cancel()
        await self._nursery.close()
        self._store.close()
        await super().teardown(*exc_info)

    async def _keep_resuming(self) -> None:
        resumer = Resumer(self.client, self._work_pool_name, Attempts(self._store), lambda: self._in_flight)
        while True:
            try:
                await resumer.look()
            except Exception as error:  # the server or our store is away: the next look may succeed
                self._logger.warning("could not look for crashed runs: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,  # the base says int, its workers pass text
    ) -> WarmResult:
        """Start the run's process and wait for its end; the base class proposes Crashed for an exit code other than 0."""
        self._in_flight.add(flow_run.id)
        try:
            return await self._run(flow_run, configuration, task_status)
        finally:
            self._in_flight.discard(flow_run.id)

    async def _run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None,
    ) -> WarmResult:
        environment = {name: value for name, value in {**os.environ, **configuration.env}.items() if value is not None}
        pid, ended = await self._nursery.start(str(flow_run.id), environment)
        identifier = infrastructure_id(pid)
        if task_status is not None:
            task_status.started(identifier)
        try:
            code = await ended
        except ForkServerDied:
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
