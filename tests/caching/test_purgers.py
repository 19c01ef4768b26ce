"""One suite for all purgers, on real caches and on fake CDNs that follow the documentation (tests/providers.py).

Each test checks the pages that readers get after the purge, not the cache's own answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from slipway.caching.purgers import KINDS, purger_of
from slipway.caching.purgers.purger import CHECK_ROUTE, Ability
from slipway.config.cache_kinds import CDNS, KEYS, OWN_CACHES
from slipway.config.service import Cache, Service
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.settings import EnvironmentReference
from tests.caches import TOKEN
from tests.fronts import FRONTS, VARIABLE, Front, fronts_that_can
from tests.sites import Answer, Site
from tests.stack.runs import wait_for


def test_the_suite_has_every_kind() -> None:
    """The configuration, the adapters and the suite have the same kinds."""
    assert set(KINDS) == set(KEYS) == {*OWN_CACHES, *CDNS} == {name.partition(" ")[0] for name in FRONTS}
    assert all(kind.abilities <= set(get_args(Ability)) for kind in KINDS.values())


def test_an_entry_survives_a_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run passes the entry between steps as JSON. JSON preserves the entry of every kind, without a secret."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    for kind in KINDS:
        entry = Front(kind, site.url, site, "").service()
        serialized = entry.model_dump_json()
        assert Service.model_validate_json(serialized) == entry
        assert TOKEN not in serialized


def test_only_the_named_routes_are_purged(front: Front) -> None:
    """Routes are purged with their exact queries. Routes below them, next to them or with other queries stay."""
    gone, paged, other_page, below, beside = (
        front.route(name) for name in ("gone/", "gone/?page=2&sort=a%20b", "gone/?page=3", "gone/below", "gone")
    )
    front.warm(gone, paged, other_page, below, beside)
    with front.purger() as purger:
        purger.purge(routes=[gone, paged, gone])
    front.assert_renewed(gone, paged)
    front.assert_unchanged(other_page, below, beside)


def test_a_purge_is_safe_to_repeat(front: Front) -> None:
    """A repeated purge, and a purge of a page that was never stored, are no errors."""
    route, never = front.route("page"), front.route("never")
    front.warm(route)
    with front.purger() as purger:
        for _ in range(2):
            purger.purge(routes=[route, never])
    assert front.read(route)[1] == f"fetch {3 if front.kind == 'nginx-refresh' else 2}"


@pytest.mark.parametrize("name", fronts_that_can("tag"))
def test_all_pages_with_a_tag_are_purged(make_front: Callable[[str], Front], name: str) -> None:
    """Every page with one of the tags is purged. A page with a longer tag stays."""
    front = make_front(name)
    one, two, three = front.route("1", "menu front"), front.route("2", "menu"), front.route("3", "sale")
    other = front.route("4", "menus front")
    front.warm(one, two, three, other)
    with front.purger() as purger:
        purger.purge(tags=["menu", "sale"])
    front.assert_renewed(one, two, three)
    front.assert_unchanged(other)


@pytest.mark.parametrize("name", fronts_that_can("prefix"))
def test_all_pages_with_a_prefix_are_purged(make_front: Callable[[str], Front], name: str) -> None:
    """A prefix is text, not a pattern: a dot matches a dot. It begins at the root and may end within a word."""
    front = make_front(name)
    below, deep = front.route("v1.0/a"), front.route("v1.0/b/c?page=2")
    like_it, inside = front.route("v1x0/a"), front.route(f"in{front.path}/v1.0/a")
    word, other_word = front.route("v2/page"), front.route("v2/other")
    front.warm(below, deep, like_it, inside, word, other_word)
    with front.purger() as purger:
        purger.purge(prefixes=[f"{front.path}/v1.0/", f"{front.path}/v2/pa"])
    front.assert_renewed(below, deep, word)
    front.assert_unchanged(like_it, inside, other_word)


@pytest.mark.parametrize(
    ("name", "ability"),
    [(name, ability) for ability in ("soft-route", "soft-tag") for name in fronts_that_can(ability)],  # type: ignore[arg-type]
)
def test_a_soft_purge_serves_one_stale_page(make_front: Callable[[str], Front], name: str, ability: str) -> None:
    """After a soft purge the first reader gets the old page at once, and the cache fetches the page for the next."""
    front = make_front(name)
    route, other = front.route(f"{ability}/page", ability), front.route(f"{ability}/other")
    front.warm(route, other)
    with front.purger() as purger:
        purger.purge(soft=True, **({"routes": [route]} if ability == "soft-route" else {"tags": [ability]}))
    assert front.read(route)[1] == "fetch 1"
    wait_for(lambda: front.read(route)[1] == "fetch 2", "the page to be fetched again")
    front.assert_unchanged(other)


@pytest.mark.parametrize(
    ("name", "removes"), [("varnish", True), ("squid", False)], ids=["varnish removes all", "squid removes ours"]
)
def test_variants(make_front: Callable[[str], Front], name: str, removes: bool) -> None:
    """A purge removes the variant for clients without special headers. Varnish removes all other variants too."""
    front = make_front(name)
    route = front.route("page", Vary="Accept-Language")
    for language in ("", "de"):
        front.read(route, Accept_Language=language)
        assert front.read(route, Accept_Language=language)[0] == "hit"
    with front.purger() as purger:
        purger.purge(routes=[route])
    assert front.read(route)[0] == "miss"
    assert front.read(route, Accept_Language="de")[0] == ("miss" if removes else "hit")


@pytest.mark.parametrize(
    "targets",
    [
        {"tags": ["menu"]},
        {"prefixes": ["/a/"]},
        {"routes": ["/a"], "soft": True},
        {"tags": ["menu"], "soft": True},
        {"prefixes": ["/a/"], "soft": True},
    ],
    ids=str,
)
def test_an_unsupported_purge_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, targets: dict[str, object]
) -> None:
    """The error lists the supported purges, and no request is sent. Caches that support the purge send a request."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    [target] = ["route" if "routes" in targets else "tag" if "tags" in targets else "prefix"]
    needed = {target} | ({f"soft-{target}"} if "soft" in targets else set())
    for kind, purger_class in KINDS.items():
        site.requests.clear()
        with Front(kind, site.url, site, "").purger() as purger:
            if needed <= purger_class.abilities:
                with pytest.raises(SlipwayError):
                    purger.purge(**targets)  # type: ignore[arg-type]
                assert site.requests
                continue
            with pytest.raises(InvalidInput) as refused:
                purger.purge(**{"routes": ["/fine"], **targets})  # type: ignore[arg-type]
        assert (
            refused.value.expected
            == f"One of the purges that the cache supports: {', '.join(sorted(purger_class.abilities))}."
        )
        assert site.requests == []


@pytest.mark.parametrize(
    "targets", [{"tags": [""]}, {"tags": ["two words"]}, {"routes": ["//other.example/"]}, {"prefixes": ["*"]}], ids=str
)
def test_an_invalid_target_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, targets: dict[str, list[str]]
) -> None:
    """A target that a cache could take for more pages than intended is never sent."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    for kind in KINDS:
        with Front(kind, site.url, site, "").purger() as purger, pytest.raises(InvalidInput):
            purger.purge(**targets)  # type: ignore[arg-type]
    assert site.requests == []


def test_the_check_removes_nothing(front: Front) -> None:
    """The check passes on a cache that accepts purges, and every page stays in the cache."""
    route, root = front.route("page"), front.route("", "menu")
    front.warm(route, root)
    with front.purger() as purger:
        purger.check()
    front.assert_unchanged(route, root)


def test_the_check_detects_a_wrong_token(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails, no page is removed, and neither the error nor the purger shows the token."""
    route = front.route("page")
    front.warm(route)
    monkeypatch.setenv(VARIABLE, "wrong-token")
    with front.purger() as purger:
        with pytest.raises(SlipwayError) as refused:
            purger.check()
        assert "wrong-token" not in f"{refused.value!r} {refused.value} {purger!r} {purger.access!r} {vars(purger)!r}"
    assert refused.value.failed.startswith("The cache refused to ")
    assert refused.value.retry_is_safe
    front.assert_unchanged(route)


def test_an_unreachable_cache_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind raises Unavailable, which is retried."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    with Site() as gone:
        pass
    for kind in KINDS:
        with Front(kind, gone.url, gone, "").purger() as purger, pytest.raises(Unavailable) as failed:
            purger.purge(routes=["/a"])
        assert failed.value.failed == "The cache does not answer a purge of /a: ConnectError."


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_unavailable(site: Site, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Every kind raises Unavailable if the cache answers with a server error."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    monkeypatch.setattr(site, "answer", lambda _: Answer("<html>" + TOKEN, status))
    for kind in KINDS:
        with Front(kind, site.url, site, "").purger() as purger, pytest.raises(Unavailable) as failed:
            purger.check()
        target = "tag slipway-purge-check" if kind == "fastly" else CHECK_ROUTE
        assert failed.value.failed == f"The cache could not purge {target}: it answered {status}."


def test_the_environment_names_the_kind_and_the_zone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone that would change the path in the provider's API is refused, and the error does not show it."""
    for name, value in ((VARIABLE, TOKEN), ("TEST_KIND", "bunny"), ("TEST_ZONE", "7/../../account")):
        monkeypatch.setenv(name, value)
    kind, zone = EnvironmentReference(env="TEST_KIND"), EnvironmentReference(env="TEST_ZONE")
    cache = Cache(kind=kind, zone=zone, token=EnvironmentReference(env=VARIABLE))
    service = Service(name="shop", url=site.url, routes=("/*",), cache=cache)
    with pytest.raises(InvalidInput) as refused:
        purger_of(service)
    assert refused.value.failed == "The zone of the cache of shop is not valid."
    monkeypatch.setenv("TEST_ZONE", "7")
    with purger_of(service) as purger:
        assert purger.access.url == "https://api.bunny.net"
