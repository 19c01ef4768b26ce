"""One suite over all purgers: on real caches, and on CDNs played after their documentation (tests/providers.py).

Each test looks at what readers get afterwards, never at what a cache says about itself.
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
    """The entry's kinds, the adapters and the suite are the same."""
    assert set(KINDS) == set(KEYS) == {*OWN_CACHES, *CDNS} == {name.partition(" ")[0] for name in FRONTS}
    assert all(kind.abilities <= set(get_args(Ability)) for kind in KINDS.values())


def test_an_entry_survives_a_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run hands the entry from step to step as JSON; it is the same for every kind, and has no secret in it."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    for kind in KINDS:
        entry = Front(kind, site.url, site, "").service()
        handed_on = entry.model_dump_json()
        assert Service.model_validate_json(handed_on) == entry
        assert TOKEN not in handed_on


def test_the_named_routes_leave_and_nothing_else(front: Front) -> None:
    """Routes with their queries leave; what is below them, beside them or has another query stays."""
    gone, paged, other_page, below, beside = (
        front.route(name) for name in ("gone/", "gone/?page=2&sort=a%20b", "gone/?page=3", "gone/below", "gone")
    )
    front.warm(gone, paged, other_page, below, beside)
    with front.purger() as purger:
        purger.purge(routes=[gone, paged, gone])
    front.assert_renewed(gone, paged)
    front.assert_kept(other_page, below, beside)


def test_a_purge_is_safe_to_repeat(front: Front) -> None:
    """Purging again, and purging what was never stored, is no error."""
    route, never = front.route("page"), front.route("never")
    front.warm(route)
    with front.purger() as purger:
        for _ in range(2):
            purger.purge(routes=[route, never])
    assert front.read(route)[1] == f"fetch {3 if front.kind == 'nginx-refresh' else 2}"


@pytest.mark.parametrize("name", fronts_that_can("tag"))
def test_all_that_carries_a_tag_leaves(make_front: Callable[[str], Front], name: str) -> None:
    """Every page with one of the tags leaves, and a page whose tag only begins like it stays."""
    front = make_front(name)
    one, two, three = front.route("1", "menu front"), front.route("2", "menu"), front.route("3", "sale")
    other = front.route("4", "menus front")
    front.warm(one, two, three, other)
    with front.purger() as purger:
        purger.purge(tags=["menu", "sale"])
    front.assert_renewed(one, two, three)
    front.assert_kept(other)


@pytest.mark.parametrize("name", fronts_that_can("prefix"))
def test_all_below_a_prefix_leaves(make_front: Callable[[str], Front], name: str) -> None:
    """A prefix is text and no pattern: the dot in it is a dot, it begins at the root, and may end within a word."""
    front = make_front(name)
    below, deep = front.route("v1.0/a"), front.route("v1.0/b/c?page=2")
    like_it, inside = front.route("v1x0/a"), front.route(f"in{front.path}/v1.0/a")
    word, other_word = front.route("v2/page"), front.route("v2/other")
    front.warm(below, deep, like_it, inside, word, other_word)
    with front.purger() as purger:
        purger.purge(prefixes=[f"{front.path}/v1.0/", f"{front.path}/v2/pa"])
    front.assert_renewed(below, deep, word)
    front.assert_kept(like_it, inside, other_word)


@pytest.mark.parametrize(
    ("name", "what"),
    [(name, what) for what in ("soft-route", "soft-tag") for name in fronts_that_can(what)],  # type: ignore[arg-type]
)
def test_a_soft_purge_serves_one_stale_answer(make_front: Callable[[str], Front], name: str, what: str) -> None:
    """After a soft purge a reader gets the old page at once, and it is fetched anew for the next."""
    front = make_front(name)
    route, other = front.route(f"{what}/page", what), front.route(f"{what}/other")
    front.warm(route, other)
    with front.purger() as purger:
        purger.purge(soft=True, **({"routes": [route]} if what == "soft-route" else {"tags": [what]}))
    assert front.read(route)[1] == "fetch 1"
    wait_for(lambda: front.read(route)[1] == "fetch 2", "the page to be fetched again")
    front.assert_kept(other)


@pytest.mark.parametrize(
    ("name", "removes"), [("varnish", True), ("squid", False)], ids=["varnish removes all", "squid removes ours"]
)
def test_variants(make_front: Callable[[str], Front], name: str, removes: bool) -> None:
    """A purge takes the variant that a plain client gets; Varnish takes all the others too, Squid does not."""
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
    "asked",
    [
        {"tags": ["menu"]},
        {"prefixes": ["/a/"]},
        {"routes": ["/a"], "soft": True},
        {"tags": ["menu"], "soft": True},
        {"prefixes": ["/a/"], "soft": True},
    ],
    ids=str,
)
def test_what_a_cache_cannot_do(site: Site, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]) -> None:
    """It is refused with what the cache can, before anything at all is sent; the other caches send something."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    [target] = ["route" if "routes" in asked else "tag" if "tags" in asked else "prefix"]
    needed = {target} | ({f"soft-{target}"} if "soft" in asked else set())
    for kind, made in KINDS.items():
        site.requests.clear()
        with Front(kind, site.url, site, "").purger() as purger:
            if needed <= made.abilities:
                with pytest.raises(SlipwayError):
                    purger.purge(**asked)  # type: ignore[arg-type]
                assert site.requests
                continue
            with pytest.raises(InvalidInput) as refused:
                purger.purge(**{"routes": ["/fine"], **asked})  # type: ignore[arg-type]
        assert refused.value.expected == f"What it can: {', '.join(sorted(made.abilities))}."
        assert site.requests == []


@pytest.mark.parametrize(
    "asked", [{"tags": [""]}, {"tags": ["two words"]}, {"routes": ["//other.example/"]}, {"prefixes": ["*"]}], ids=str
)
def test_what_is_no_target(site: Site, monkeypatch: pytest.MonkeyPatch, asked: dict[str, list[str]]) -> None:
    """What a cache could take for more than was meant is never sent."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    for kind in KINDS:
        with Front(kind, site.url, site, "").purger() as purger, pytest.raises(InvalidInput):
            purger.purge(**asked)  # type: ignore[arg-type]
    assert site.requests == []


def test_the_check_removes_nothing(front: Front) -> None:
    """A cache that takes our purges is found to do so, and every page is still there."""
    route, root = front.route("page"), front.route("", "menu")
    front.warm(route, root)
    with front.purger() as purger:
        purger.check()
    front.assert_kept(route, root)


def test_a_wrong_token(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds it out; nothing is removed, and neither error nor purger shows the token."""
    route = front.route("page")
    front.warm(route)
    monkeypatch.setenv(VARIABLE, "wrong-token")
    with front.purger() as purger:
        with pytest.raises(SlipwayError) as refused:
            purger.check()
        assert "wrong-token" not in f"{refused.value!r} {refused.value} {purger!r} {purger.access!r} {vars(purger)!r}"
    assert refused.value.failed.startswith("The cache refused to ")
    assert refused.value.retry_is_safe
    front.assert_kept(route)


def test_a_cache_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Unavailable, for every kind: asking again may help."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    with Site() as gone:
        pass
    for kind in KINDS:
        with Front(kind, gone.url, gone, "").purger() as purger, pytest.raises(Unavailable) as failed:
            purger.purge(routes=["/a"])
        assert failed.value.failed == "The cache does not answer a purge of /a: ConnectError."


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_cache_that_is_ill(site: Site, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """An error of the cache's own is Unavailable, for every kind."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    monkeypatch.setattr(site, "answer", lambda _: Answer("<html>" + TOKEN, status))
    for kind in KINDS:
        with Front(kind, site.url, site, "").purger() as purger, pytest.raises(Unavailable) as failed:
            purger.check()
        named = "tag slipway-purge-check" if kind == "fastly" else CHECK_ROUTE
        assert failed.value.failed == f"The cache could not purge {named}: it answered {status}."


def test_the_environment_names_the_kind_and_the_zone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone that would lead elsewhere in the provider's API is refused without being shown."""
    for name, value in ((VARIABLE, TOKEN), ("TEST_KIND", "bunny"), ("TEST_ZONE", "7/../../account")):
        monkeypatch.setenv(name, value)
    kind, zone = EnvironmentReference(env="TEST_KIND"), EnvironmentReference(env="TEST_ZONE")
    cache = Cache(kind=kind, zone=zone, token=EnvironmentReference(env=VARIABLE))
    service = Service(name="shop", url=site.url, routes=("/*",), cache=cache)
    with pytest.raises(InvalidInput) as refused:
        purger_of(service)
    assert refused.value.failed == "The zone of the cache of shop is no zone."
    monkeypatch.setenv("TEST_ZONE", "7")
    with purger_of(service) as purger:
        assert purger.access.url == "https://api.bunny.net"
