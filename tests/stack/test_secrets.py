"""A run's process reads Prefect's Secret blocks from a real Prefect server."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from slipway.deployments.stack import Stack
from tests.stack.conftest import ROOT

MAKE = """
    from prefect.blocks.system import Secret
    Secret(value="s3cret value").save("reader-token", overwrite=True)
"""
READ = """
    import asyncio
    import slipway.tasks.engine.durable
    from slipway.core.errors import SlipwayError
    from slipway.core.settings import PrefectSecret, resolve

    async def in_a_loop():
        return resolve(PrefectSecret(secret="reader-token"))

    assert resolve(PrefectSecret(secret="reader-token")) == "s3cret value"
    assert asyncio.run(in_a_loop()) == "s3cret value"
    try:
        resolve(PrefectSecret(secret="no-such-secret"))
    except SlipwayError as error:
        print(type(error).__name__, error.failed)
"""
AWAY = """
    import slipway.tasks.engine.durable
    from slipway.core.errors import SlipwayError
    from slipway.core.settings import PrefectSecret, resolve
    try:
        resolve(PrefectSecret(secret="reader-token"))
    except SlipwayError as error:
        print(type(error).__name__, error.failed, error.retry_is_safe)
"""


def run(stack: Stack, code: str, **environment: str) -> str:
    """Return the output of a process with a run's environment."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**stack.environment, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_secret_is_read_by_its_name(stack: Stack) -> None:
    """A secret is also read inside an event loop. The error names a missing secret."""
    run(stack, MAKE)
    assert run(stack, READ) == "InvalidInput There is no Prefect Secret 'no-such-secret'."


def test_an_unreachable_prefect_server_is_a_temporary_error(stack: Stack) -> None:
    """The error is temporary, so the step is retried."""
    output = run(stack, AWAY, PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    assert output == "Unavailable Could not read the Secret 'reader-token' from Prefect: ConnectError. True"
