"""Fixtures for the tests of the purgers."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.caches import TOKEN, run_cache, run_nginx_with_the_module, run_squid
from tests.fronts import FRONTS, ID_VARIABLE, VARIABLE, Front
from tests.signed_providers import ALL_FAKES, KEY_ID
from tests.sites import Answer, Site

GRACE = (
    "set beresp.grace = 0s;",
    "set beresp.grace = 600s;",
)  # without grace there is no stale page after a soft purge


@pytest.fixture(scope="module")
def origin() -> Iterator[Site]:
    """Start the web server behind the caches. Each test uses its own pages."""
    with Site() as site:
        site.pages["/health"] = Answer("ok", headers={"Cache-Control": "no-store"})
        yield site


@pytest.fixture(scope="module")
def url_of(
    origin: Site, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], None]
) -> Iterator[Callable[[str], str]]:
    """Return the URL of a real cache, which starts on first use."""
    starts: dict[str, tuple[str, Callable[[Path], AbstractContextManager[str]]]] = {
        "varnish": ("varnishd", lambda folder: run_cache("varnish", folder, origin, GRACE)),
        "nginx": ("", lambda folder: run_cache("nginx", folder, origin)),
        "nginx with the module": ("nginx", lambda _: run_nginx_with_the_module(origin)),
        "squid": ("squid", lambda _: run_squid(origin)),
    }
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def start_once(name: str) -> str:
            if name not in urls:
                command, start = starts[name]
                if command:
                    require(command)
                urls[name] = stack.enter_context(start(tmp_path_factory.mktemp("cache")))
            return urls[name]

        yield start_once


@pytest.fixture(autouse=True)
def signing_and_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the key ids of the CDNs that need signatures, and shorten the polling interval of CloudFront."""
    monkeypatch.setenv(ID_VARIABLE, KEY_ID)
    monkeypatch.setattr("slipway.caching.purgers.cloudfront.POLL_S", 0.02)


@pytest.fixture
def make_front(
    origin: Site,
    url_of: Callable[[str], str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], Front]]:
    """Return a function that makes a front by its name."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    path = f"/{request.node.originalname}-{uuid.uuid4().hex[:6]}"
    with ExitStack() as stack:

        def start(name: str) -> Front:
            if name not in ALL_FAKES:
                url = url_of("nginx" if name == "nginx-refresh" else name)
                return Front(name, url, origin, f"{path}-{name.replace(' ', '-')}")
            edge = stack.enter_context(ALL_FAKES[name](origin))
            front = Front(name, edge.url, origin, f"{path}-{name}")
            front.edge = edge
            return front

        yield start


@pytest.fixture(params=FRONTS)
def front(make_front: Callable[[str], Front], request: pytest.FixtureRequest) -> Front:
    """Return each cache in turn."""
    return make_front(request.param)
