"""The typed client for programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slipway.client import Slipway
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from tests.admin.api.served import Served
from tests.played_prefect import FakePrefect


@pytest.fixture
def slipway(admin: Served) -> Iterator[Slipway]:
    """A client of a running admin service."""
    with Slipway(admin.url, admin.token) as made:
        yield made


def test_the_client_follows_a_job_to_its_end(slipway: Slipway, prefect: FakePrefect) -> None:
    """The client lists jobs, starts a run with a key, and follows the run with its running step until the end."""
    [job] = slipway.jobs()
    assert job.name == "look-around" and "properties" in job.parameters and not job.paused
    run = slipway.start("look-around", {}, key="deploy-1")
    assert slipway.start("look-around", {}, key="deploy-1").id == run.id and not run.over
    assert run.id in [line.id for line in slipway.runs()]
    played = prefect.runs[run.id]
    prefect.move(played, "RUNNING")
    prefect.step(played, "look")
    seen = []
    for current in slipway.follow(run.id):
        seen.append((current.running_step, current.over))
        if current.running_step == "look":
            prefect.step(played, "look", "COMPLETED")
            prefect.move(played, "COMPLETED")
    assert ("look", False) in seen and seen[-1] == (None, True)
    assert current.asked_by == "ada" and current.steps[0].seconds is not None


def test_refusals_raise_errors(slipway: Slipway, admin: Served) -> None:
    """Each kind of refusal is an exception with the message of the service."""
    with pytest.raises(InvalidInput, match="'nonsense' was unexpected"):
        slipway.start("look-around", {"nonsense": 1})
    run = slipway.start("look-around", {})
    with pytest.raises(SlipwayError, match="does not wait for approval"):
        slipway.act(run.id, "reject", "not today")
    with pytest.raises(SlipwayError, match="shipped no change"):
        slipway.roll_back(run.id)
    assert slipway.act(run.id, "cancel", "not today").id == run.id
    with Slipway(admin.url) as anonymous, pytest.raises(SlipwayError, match="The request is not authenticated"):
        anonymous.jobs()
    with Slipway("http://127.0.0.1:9") as unreachable, pytest.raises(Unavailable, match="does not answer"):
        unreachable.jobs()
