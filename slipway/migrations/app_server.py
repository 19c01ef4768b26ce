"""Start a service's own code on a given database and a free port, for the time of a check."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from slipway.config.service import Serve, Service
from slipway.core import cancellation
from slipway.core.commands import INHERITED
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.process_trees import end_tree
from slipway.core.settings import resolve

HOST = "127.0.0.1"
STOP_WITHIN_S = 10


@contextmanager
def serving(service: Service, database_url: str, config_folder: Path) -> Iterator[Service]:
    """Start the service's current code on the database at `database_url`; yield the service with the URL of the server.

    Raises SlipwayError if the command does not exist or the server does not answer in time; the error contains the
    last lines of the server's output.
    """
    if service.serve is None or service.database is None:
        raise InvalidInput(
            f"Service {service.name} has no [service.serve].", expected="[service.serve] contains the start command."
        )
    port = _free_port()
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {name: resolve(value) for name, value in service.serve.environment.items()}
    environment[service.database.variable] = database_url
    directory = (config_folder / service.directory).resolve()
    environment["PATH"] = f"{directory / service.serve.bin}{os.pathsep}{environment.get('PATH', os.defpath)}"
    argv = [part.replace("{port}", str(port)) for part in service.serve.command]
    url = f"http://{HOST}:{port}"
    with _started(argv, directory, environment) as (process, log):
        _wait_until_ready(process, service.serve, url, Path(log.name))
        yield service.model_copy(update={"url": url})


@contextmanager
def _started(
    argv: list[str], directory: Path, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], tempfile._TemporaryFileWrapper[bytes]]]:
    program = shutil.which(argv[0], path=environment["PATH"])
    if program is None:
        raise SlipwayError(
            f"There is no command {argv[0]!r} to start the service.",
            expected="The command is installed in the service's own environment.",
            retry_is_safe=True,
        )
    with (
        tempfile.NamedTemporaryFile(prefix="slipway-serving-") as log,
        subprocess.Popen(
            [program, *argv[1:]],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # `end_tree` then finds all of its children
        ) as process,
    ):
        try:
            yield process, log
        finally:
            end_tree(process.pid, grace_s=STOP_WITHIN_S)


def _wait_until_ready(process: subprocess.Popen[bytes], serve: Serve, url: str, log: Path) -> None:
    deadline = time.monotonic() + serve.within_s
    with httpx.Client(base_url=url, timeout=5, trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            cancellation.check()
            with contextlib.suppress(httpx.HTTPError):
                if client.get(serve.ready).status_code < 500:
                    return
            time.sleep(0.1)
    problem = "did not answer" if process.poll() is None else f"exited with {process.returncode} before it answered"
    output = " | ".join(line.strip() for line in log.read_text(errors="replace").splitlines()[-3:] if line.strip())
    raise SlipwayError(
        f"The service {problem} on the migrated copy: {output[:500]}",
        expected=f"The service answers {serve.ready} within {serve.within_s:g} s.",
        retry_is_safe=True,
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
