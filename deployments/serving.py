"""The admin service as a part of a stack, with the processor before everything that can wait."""

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

NICE = -15  # it takes little, and a person waits for it; jobs, workers and Prefect's server can wait a moment
LOWEST_OF_REAL_TIME = 1


def admin_part(environment: Mapping[str, str], port: int, log: Path, *, name: str = "admin service") -> Part:
    """One process of the admin service. Behind no proxy: what a header says of the peer's address is not believed."""
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
    argv += ["--timeout-graceful-shutdown", "2"]  # streams of events end only with the service
    return Part(
        name=name,
        argv=[*argv, "--no-access-log", "--no-proxy-headers"],
        environment=environment,
        directory=ROOT,
        log=log,
        ready=lambda: answers(f"http://{HOST}:{port}/ready"),
        begun=put_first,
    )


def put_first(pid: int) -> bool:
    """Give a process precedence over others; false where the system does not allow it, which changes nothing else.

    Linux weighs sessions against each other before it looks at the processes in them, so a session's own process tells
    it both ways. A weight alone does not take the processor from who has it, for some milliseconds; a process's first
    thread, which answers, takes it at once where that is allowed. What it starts is as the rest of its session.
    """
    try:
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():  # first, as it is the one that may be refused to who may do the other
            group.write_text(str(NICE), encoding="ascii")
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    except OSError:
        return False
    with suppress(OSError, AttributeError):  # a container may refuse it, and other systems do not have it
        os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(LOWEST_OF_REAL_TIME))
    return True
