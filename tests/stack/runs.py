"""Wait for runs, and read the databases."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL

Run = dict[str, Any]


def finished(client: AdminClient, run: Run) -> Run:
    """Wait until a run has ended and can be read completely. Return it. A crash is not an end: a worker resumes the run."""

    def ended() -> Run | None:
        *_, last = client.follow(run["id"])
        return last if last["state"]["type"] != "CRASHED" and not last["missing"] else None

    ended_run: Run = wait_for(ended, f"the end of run {run['id']}", 900)
    return ended_run


def wait_for_approval(client: AdminClient, run: Run) -> None:
    """Wait until the run waits for approval. Fail the test as soon as the run ends instead."""
    for current in client.follow(run["id"]):
        if current["state"]["name"] == "Suspended":
            return
    pytest.fail(f"the run ended before it waited for approval: {current['state']} {current['failures']}")


def wait_for(condition: Callable[[], Any], description: str, seconds: float = 300) -> Any:
    """Wait until `condition` returns a true value, and return this value. Fail with `description` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {description}")
        time.sleep(0.25)
    return value


def scalar(database: PostgreSQL, query: str) -> Any:
    """Return one value from a database."""
    engine = create_engine(database.url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(query)).scalar()
    finally:
        engine.dispose()


def step_names(run: Run) -> list[str]:
    """Return the names of a run's steps, in order."""
    return [step["name"] for step in run["steps"]]
