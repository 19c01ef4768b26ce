"""The worker type `slipway`: like Prefect's process worker, but each run starts in a child of a fork server.

`prefect worker start --type slipway` finds it through the entry point in pyproject.toml.
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
CHECK_EVERY_S = 1.5


class WarmResult(BaseWorkerResult):
    """The exit code of a run's process."""


class WarmWorker(BaseWorker[BaseJobConfiguration, BaseVariables, WarmResult]):
    """Execute each flow run in its own process, forked from a fork server that has imported all modules."""

    type = "slipway"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables
    _display_name = "Slipway (warm)"
    _description = "Starts each flow run within a second, in a process that is forked from a warm fork server."

    _fork_server: ForkServer
    _store: Store
    _in_flight: set[UUID]
    _background: list[asyncio.Task[None]]

    async def setup(self) -> None:
        """Start the fork server and the checks for crashed runs. A run that arrives early waits for the fork server."""
        self._fork_server = ForkServer()
        self._in_flight = set()
        self._store = Store(Settings.from_environment().database_url)
        await super().setup()
        self._background = [
            asyncio.create_task(self._fork_server.keep_warm()),
            asyncio.create_task(self._keep_resuming()),
        ]

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the fork servers. Their runs die too, and resume on another worker or later."""
        for task in self._background:
            task.cancel()
        await self._fork_server.close()
        self._store.close()
        await super().teardown(*exc_info)

    async def _keep_resuming(self) -> None:
        resumer = Resumer(self.client, self._work_pool_name, Attempts(self._store), lambda: self._in_flight)
        while True:
            try:
                await resumer.check_runs()
            except Exception as error:  # the Prefect server or the store is unreachable: the next check may succeed
                self._logger.warning("Could not check for crashed runs: %s", error)
            await asyncio.sleep(CHECK_EVERY_S)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,  # the base class declares int, Prefect's workers pass str
    ) -> WarmResult:
        """Start the run's process and wait for its end. For an exit code other than 0 the base class proposes Crashed."""
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
        pid, ended = await self._fork_server.start(str(flow_run.id), environment)
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
        """Stop a run's process: SIGTERM first, SIGKILL after the grace period. Raises InfrastructureNotFound if it is gone."""
        host, pid, started = parse_infrastructure_id(infrastructure_pid)
        if host != socket.gethostname():
            raise InfrastructureNotAvailable(f"The process runs on {host}.")
        if not is_alive(infrastructure_pid):
            raise InfrastructureNotFound(f"Process {pid} has ended.")
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while mark(pid) == (pid, started):
                    await asyncio.sleep(0.1)
                return
        os.kill(pid, signal.SIGKILL)
