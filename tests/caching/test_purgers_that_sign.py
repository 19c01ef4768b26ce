"""CloudFront and Akamai: what is their own, beside the suite over all purgers."""

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
    """A service behind CloudFront."""
    return make_front("cloudfront")


def edge_of(front: Front) -> Edge:
    """The played CDN itself."""
    assert front.edge is not None
    return front.edge


@SIGNING
def test_without_the_extra(
    make_front: Callable[[str], Front], monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    """Who did not install the package reads which extra brings it; the module itself needs no package."""
    monkeypatch.setitem(sys.modules, "botocore" if name == "cloudfront" else "akamai.edgegrid", None)
    with pytest.raises(InvalidInput) as refused:
        make_front(name).purger()
    assert (refused.value.failed, refused.value.expected) == (
        f"A cache of kind {name} needs the package {package}, which is not installed.",
        f"Slipway installed with its extra: slipway[{name}].",
    )


@SIGNING
def test_no_secret_in_any_log(
    make_front: Callable[[str], Front], caplog: pytest.LogCaptureFixture, name: str, package: str
) -> None:
    """Where everything is logged, what the packages sign with is not."""
    with caplog.at_level(logging.DEBUG), make_front(name).purger() as purger:
        purger.purge(routes=["/a"])
    assert "HTTP Request: POST" in caplog.text  # so that something was logged at all
    assert TOKEN not in caplog.text
    assert KEY_ID not in caplog.text
    assert "ignature" not in caplog.text
    assert "signing key" not in caplog.text


@SIGNING
def test_another_identity(
    make_front: Callable[[str], Front], monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    """The right secret of another key is refused, and the key is not shown."""
    front = make_front(name)
    monkeypatch.setenv(ID_VARIABLE, "AKIDOTHER")
    with front.purger() as purger, pytest.raises(SlipwayError) as refused:
        purger.check()
    assert refused.value.failed.startswith("The cache refused to purge /.slipway-purge-check: it answered 40")
    assert "AKIDOTHER" not in f"{refused.value!r} {purger.access!r}"


def test_a_session_token_is_signed(cloudfront: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for a while comes with a session token, which goes along and into the signature."""
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


def test_too_many_invalidations_are_waited_for(cloudfront: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of CloudFront is a 400, which is put off like any other limit, with the same reference."""
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


def test_another_400_is_no_limit(cloudfront: Front) -> None:
    """What CloudFront finds wrong is refused at once."""
    edge_of(cloudfront).refusals = [Answer(LIMIT.replace("TooManyInvalidationsInProgress", "InvalidArgument"), 400)]
    with cloudfront.purger() as purger, pytest.raises(SlipwayError, match="it answered 400"):
        purger.purge(routes=["/a"])
    assert len(edge_of(cloudfront).requests) == 1


def test_an_invalidation_is_waited_for(cloudfront: Front) -> None:
    """The purge returns when the invalidation is completed, and each purge is an invalidation of its own."""
    edge_of(cloudfront).settles_s = 0.2
    route = cloudfront.route("page")
    cloudfront.warm(route)
    began = time.monotonic()
    with cloudfront.purger() as purger:
        purger.purge(routes=[route])
        assert time.monotonic() - began >= 0.2
        cloudfront.assert_renewed(route)
        purger.purge(routes=[route])
    assert cloudfront.read(route) == ("miss", "fetch 3")


def test_an_invalidation_without_an_end(cloudfront: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not completed in time is told; doing it again is safe."""
    monkeypatch.setattr("slipway.caching.purgers.cloudfront.COMPLETES_WITHIN_S", 0.1)
    edge_of(cloudfront).settles_s = 3_600
    with cloudfront.purger() as purger, pytest.raises(Unavailable) as failed:
        purger.purge(routes=["/a"])
    assert failed.value.failed == "The invalidation of /a is still in progress."


def test_the_check_does_not_wait(cloudfront: Front) -> None:
    """The check only sees that an invalidation is taken."""
    edge_of(cloudfront).settles_s = 3_600
    with cloudfront.purger() as purger:
        purger.check()
    assert [request.method for request in edge_of(cloudfront).requests] == ["POST"]


@pytest.mark.parametrize("name", ["bunny", "cloudfront"])
def test_a_star_is_refused(make_front: Callable[[str], Front], name: str) -> None:
    """Where * is a wildcard, a route with one would take more than it names."""
    cdn = make_front(name)
    for asked in ({"routes": ["/a*"]}, {"prefixes": ["/*/b"]}):
        with cdn.purger() as purger, pytest.raises(InvalidInput, match="is a wildcard"):
            purger.purge(**asked)  # type: ignore[arg-type]
    assert edge_of(cdn).requests == []


def test_the_longest_that_akamai_takes(make_front: Callable[[str], Front]) -> None:
    """A whole batch of the longest routes or tags stays below the 50,000 bytes of a request."""
    cdn = make_front("akamai")
    routes = [f"/{number:0499}" for number in range(100)]
    tags = [f"{number:0128}" for number in range(600)]
    with cdn.purger() as purger:
        purger.purge(routes=routes, tags=tags)
    sizes = [len(request.body) for request in edge_of(cdn).requests]
    assert len(sizes) == 4
    assert max(sizes) <= 50_000
