"""The admin service as a part of a stack, with a higher CPU priority than the other parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from slipway.deployments.deploy import ROOT
from slipway.deployments.ports import HOST
from slipway.deployments.processes import Part
from slipway.deployments.shop import answers

NICE = -15  # it needs little CPU, and a person waits for it; jobs, workers and Prefect's server can wait a moment
LOWEST_REAL_TIME_PRIORITY = 1


def admin_part(environment: Mapping[str, str], port: int, log: Path, *, name: str = "admin service") -> Part:
    """Return one process of the admin service. It runs without a proxy, so forwarded-address headers are ignored."""
    argv = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "slipway.admin.app:create_app",
        "--host",
        HOST,
        "--port",
        str(port),
    ]
    argv += ["--timeout-graceful-shutdown", "2"]  # event streams end only with the service
    return Part(
        name=name,
        argv=[*argv, "--no-access-log", "--no-proxy-headers"],
        environment=environment,
        directory=ROOT,
        log=log,
        ready=lambda: answers(f"http://{HOST}:{port}/ready"),
        on_start=raise_priority,
    )


def raise_priority(pid: int) -> bool:
    """Raise the CPU priority of a process. Return false where the system does not allow that; the process then runs as before.

    Linux weighs sessions (autogroups) before the processes in them, so both weights are set. A weight alone does not
    preempt a running process for some milliseconds. So the first thread, which answers the requests, also gets
    real-time scheduling where that is allowed. Other threads and child processes keep the session's ordinary priority.
    """
    try:
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():  # first: it may be refused although setpriority is allowed
            group.write_text(str(NICE), encoding="ascii")
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    except OSError:
        return False
    with suppress(OSError, AttributeError):  # containers may refuse it, and other systems lack it
        os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(LOWEST_REAL_TIME_PRIORITY))
    return True
