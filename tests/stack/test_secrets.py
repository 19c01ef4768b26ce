"""References to Prefect's Secret blocks, read by a run's process from a real Prefect server."""

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
    """What a process of a run prints."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**stack.environment, **environment})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_secret_is_read_by_its_name(stack: Stack) -> None:
    """Inside of an event loop, too; one that is missing is named."""
    run(stack, MAKE)
    assert run(stack, READ) == "InvalidInput There is no Prefect Secret 'no-such-secret'."


def test_prefect_is_away(stack: Stack) -> None:
    """It may pass, so the step is tried again."""
    told = run(stack, AWAY, PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    assert told == "Unavailable Prefect does not tell the Secret 'reader-token': ConnectError. True"
