"""Tests of CloudFront and Akamai that are not in the suite for all purgers."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import pytest

from slipway.caching.purgers import KINDS, purger_of
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.settings import EnvironmentReference
from tests.caches import TOKEN
from tests.fronts import ID_VARIABLE, Front
from tests.providers import Edge
from tests.signed_providers import KEY_ID
from tests.sites import Answer

LIMIT = "<ErrorResponse><Error><Code>TooManyInvalidationsInProgress</Code></Error></ErrorResponse>"
SIGNING = pytest.mark.parametrize(("name", "package"), [("cloudfront", "botocore"), ("akamai", "edgegrid-python")])


@pytest.fixture
def cloudfront(make_front: Callable[[str], Front]) -> Front:
    """Return a service behind CloudFront."""
    return make_front("cloudfront")


def edge_of(front: Front) -> Edge:
    """Return the fake CDN of a front."""
    assert front.edge is not None
    return front.edge


@SIGNING
def test_a_missing_extra_is_named(
    make_front: Callable[[str], Front], monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    """The error names the extra that installs the missing package. The module can be imported without the package."""
    monkeypatch.setitem(sys.modules, "botocore" if name == "cloudfront" else "akamai.edgegrid", None)
    with pytest.raises(InvalidInput) as refused:
        make_front(name).purger()
    assert (refused.value.failed, refused.value.expected) == (
        f"A cache of kind {name} needs the package {package}, which is not installed.",
        f"Slipway is installed with the extra: slipway[{name}].",
    )


@SIGNING
def test_no_secret_is_logged(
    make_front: Callable[[str], Front], caplog: pytest.LogCaptureFixture, name: str, package: str
) -> None:
    """Even at the level DEBUG, the packages' keys and signatures are not logged."""
    with caplog.at_level(logging.DEBUG), make_front(name).purger() as purger:
        purger.purge(routes=["/a"])
    assert "HTTP Request: POST" in caplog.text  # proves that the log was captured
    assert TOKEN not in caplog.text
    assert KEY_ID not in caplog.text
    assert "ignature" not in caplog.text
    assert "signing key" not in caplog.text


@SIGNING
def test_another_key_is_refused(
    make_front: Callable[[str], Front], monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    """The provider refuses the right secret with another key id, and the error does not show the key id."""
    front = make_front(name)
    monkeypatch.setenv(ID_VARIABLE, "AKIDOTHER")
    with front.purger() as purger, pytest.raises(SlipwayError) as refused:
        purger.check()
    assert refused.value.failed.startswith("The cache refused to purge /.slipway-purge-check: it answered 40")
    assert "AKIDOTHER" not in f"{refused.value!r} {purger.access!r}"


def test_a_session_token_is_signed(cloudfront: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary key has a session token, which is sent and signed."""
    monkeypatch.setenv("TEST_SESSION", "session-token")
    service = cloudfront.service()
    assert service.cache is not None
    credentials = {**service.cache.credentials, "session_token": EnvironmentReference(env="TEST_SESSION")}
    cache = service.cache.model_copy(update={"credentials": credentials})
    with purger_of(service.model_copy(update={"cache": cache})) as purger:
        purger.check()
    [request] = edge_of(cloudfront).requests
    assert request.headers["X-Amz-Security-Token"] == "session-token"
    assert "x-amz-security-token" in request.headers["Authorization"]


def test_a_purge_waits_for_the_invalidation_limit(cloudfront: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFront reports its limit with a 400. The purge waits and sends the same reference again."""
    monkeypatch.setattr(KINDS["cloudfront"], "wait_s", 0.01)
    route = cloudfront.route("page")
    cloudfront.warm(route)
    edge_of(cloudfront).refusals = [Answer(LIMIT, 400)]
    with cloudfront.purger() as purger:
        purger.purge(routes=[route])
        bodies = [request.body for request in edge_of(cloudfront).requests if request.method == "POST"]
        assert bodies == [bodies[0]] * 2
        edge_of(cloudfront).refusals = [Answer(LIMIT, 400) for _ in range(4)]
        with pytest.raises(Unavailable, match="it answered 400 and asks to wait 0 s"):
            purger.purge(routes=[route])
    cloudfront.assert_renewed(route)


def test_another_400_fails_at_once(cloudfront: Front) -> None:
    """Any other 400 is an error without waiting."""
    edge_of(cloudfront).refusals = [Answer(LIMIT.replace("TooManyInvalidationsInProgress", "InvalidArgument"), 400)]
    with cloudfront.purger() as purger, pytest.raises(SlipwayError, match="it answered 400"):
        purger.purge(routes=["/a"])
    assert len(edge_of(cloudfront).requests) == 1


def test_a_purge_waits_for_its_invalidation(cloudfront: Front) -> None:
    """The purge returns when its invalidation is completed, and each purge is a separate invalidation."""
    edge_of(cloudfront).purge_delay_s = 0.2
    route = cloudfront.route("page")
    cloudfront.warm(route)
    began = time.monotonic()
    with cloudfront.purger() as purger:
        purger.purge(routes=[route])
        assert time.monotonic() - began >= 0.2
        cloudfront.assert_renewed(route)
        purger.purge(routes=[route])
    assert cloudfront.read(route) == ("miss", "fetch 3")


def test_an_invalidation_that_does_not_complete(cloudfront: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalidation that does not complete in time raises Unavailable, so a retry is safe."""
    monkeypatch.setattr("slipway.caching.purgers.cloudfront.COMPLETE_TIMEOUT_S", 0.1)
    edge_of(cloudfront).purge_delay_s = 3_600
    with cloudfront.purger() as purger, pytest.raises(Unavailable) as failed:
        purger.purge(routes=["/a"])
    assert failed.value.failed == "The invalidation of /a is still in progress."


def test_the_check_does_not_wait(cloudfront: Front) -> None:
    """The check only requires that the provider accepts an invalidation."""
    edge_of(cloudfront).purge_delay_s = 3_600
    with cloudfront.purger() as purger:
        purger.check()
    assert [request.method for request in edge_of(cloudfront).requests] == ["POST"]


@pytest.mark.parametrize("name", ["bunny", "cloudfront"])
def test_a_star_is_refused(make_front: Callable[[str], Front], name: str) -> None:
    """If * is a wildcard, a route with * would purge other pages."""
    cdn = make_front(name)
    for targets in ({"routes": ["/a*"]}, {"prefixes": ["/*/b"]}):
        with cdn.purger() as purger, pytest.raises(InvalidInput, match="is a wildcard"):
            purger.purge(**targets)  # type: ignore[arg-type]
    assert edge_of(cdn).requests == []


def test_the_longest_request_to_akamai(make_front: Callable[[str], Front]) -> None:
    """A full batch of the longest routes or tags stays below the limit of 50,000 bytes."""
    cdn = make_front("akamai")
    routes = [f"/{number:0499}" for number in range(100)]
    tags = [f"{number:0128}" for number in range(600)]
    with cdn.purger() as purger:
        purger.purge(routes=routes, tags=tags)
    sizes = [len(request.body) for request in edge_of(cdn).requests]
    assert len(sizes) == 4
    assert max(sizes) <= 50_000
