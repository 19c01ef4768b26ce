"""What the tests ask of runs and of the shop's database."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL

Run = dict[str, Any]


def finished(client: AdminClient, run: Run) -> Run:
    """The run once it has ended and all of it can be read. A crash is not an end: a worker resumes the run."""

    def ended() -> Run | None:
        *_, last = client.follow(run["id"])
        return last if last["state"]["type"] != "CRASHED" and not last["missing"] else None

    found: Run = wait_for(ended, f"the end of run {run['id']}", 900)
    return found


def wait_for_approval(client: AdminClient, run: Run) -> None:
    """Wait until the run waits for approval; fails as soon as it ends instead."""
    for current in client.follow(run["id"]):
        if current["state"]["name"] == "Suspended":
            return
    pytest.fail(f"the run ended before it asked for approval: {current['state']} {current['failures']}")


def wait_for(look: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """What `look` finds, once it finds something; fails with what it waited for."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.25)
    return found


def scalar(database: PostgreSQL, query: str) -> Any:
    """One value from a database."""
    engine = create_engine(database.url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(query)).scalar()
    finally:
        engine.dispose()


def step_names(run: Run) -> list[str]:
    """The names of a run's steps, in order."""
    return [step["name"] for step in run["steps"]]
