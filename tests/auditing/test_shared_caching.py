"""What shared caches may do, and the leak probe, as tables of cases; httplint is the real one."""

from __future__ import annotations

import pytest

from slipway.auditing.items.header_lint import lint
from slipway.auditing.items.leaks import leak_item
from slipway.auditing.items.shared_caching import caching_items
from slipway.auditing.report import Observation, PagesRead

SHARED = {"cache-control": "public, s-maxage=60"}
PRIVATE = {"cache-control": "private, no-store"}
SETS = {"set-cookie": "session=1"}


def seen(headers: dict[str, str], identity: str = "anonymous", shows: tuple[str, ...] = ()) -> Observation:
    """One answer of /orders."""
    return Observation(target="/orders", identity=identity, status=200, headers=tuple(headers.items()), shows=shows)


def failing(*observations: Observation) -> dict[str, tuple[str, ...]]:
    """The items that fail, with their evidence."""
    items = caching_items(PagesRead(observations=observations), [])
    assert [item.code for item in items] == [
        "header-lint",
        "cookie-storable",
        "personal-pages",
        "vary",
        "targeted-cache-control",
        "surrogate-control",
    ]
    return {item.code: item.evidence for item in items if item.result == "fail"}


@pytest.mark.parametrize(
    ("headers", "shows", "codes"),
    [
        (SHARED, (), []),
        (PRIVATE, ("alice",), []),
        ({"vary": "Cookie"}, ("alice",), []),
        (PRIVATE | SETS, (), []),
        (PRIVATE | {"cdn-cache-control": "no-store"}, ("alice",), []),
        (PRIVATE | {"surrogate-control": "no-store"}, ("alice",), []),
        (SHARED | {"surrogate-control": 'content="ESI/1.0", max-age=60+30'}, (), []),
        (SHARED | SETS, (), ["cookie-storable"]),
        ({}, ("alice",), ["personal-pages"]),
        (SHARED | {"vary": "Cookie"}, ("alice",), ["personal-pages"]),
        (SHARED | {"vary": "*"}, (), ["vary"]),
        (SHARED | {"cdn-cache-control": "Max-Age=60"}, (), ["targeted-cache-control"]),
        (SHARED | {"cdn-cache-control": "max-age=60;;"}, (), ["targeted-cache-control"]),
        (
            PRIVATE | {"vary": "Cookie", "cdn-cache-control": "max-age=60"},
            ("alice",),
            ["personal-pages", "targeted-cache-control"],
        ),
        (PRIVATE | SETS | {"cdn-cache-control": "max-age=60"}, (), ["cookie-storable", "targeted-cache-control"]),
        (
            PRIVATE | {"vary": "Cookie", "surrogate-control": "max-age=60"},
            ("alice",),
            ["personal-pages", "surrogate-control"],
        ),
    ],
)
def test_one_answer(headers: dict[str, str], shows: tuple[str, ...], codes: list[str]) -> None:
    """Each wrong header fails its own item, and the right ones none."""
    assert list(failing(seen(headers, "alice", shows))) == codes


def test_a_page_that_the_cookie_decides() -> None:
    """Stored for nobody in particular and another one signed in: the cache has to look at the cookie."""
    signed_in = seen(PRIVATE, "alice", ("alice",))
    assert failing(seen(SHARED | {"vary": "Accept-Encoding, Cookie"}), signed_in) == {}
    assert failing(seen(SHARED), signed_in) == {
        "vary": ("/orders as anonymous may be stored without Vary: Cookie, and signed in the page is another",)
    }


DATE = {"date": "Tue, 24 Nov 2026 17:00:00 GMT", "content-type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("headers", "result"),
    [
        ({"cache-control": "public, s-maxage=60, max-age=0", "content-length": "7000"}, "pass"),
        ({"cache-control": "max-age=soon"}, "fail"),
        ({"cache-control": "public, private"}, "fail"),
        ({"cache-control": "max-age=60", "age": "-1"}, "fail"),
    ],
)
def test_httplint(headers: dict[str, str], result: str) -> None:
    """Its errors fail the item; `public` where it is not needed, and a body that nobody fed, do not."""
    notes = [("/orders", note) for note in lint(seen(DATE | headers), "https://shop.example/orders")]
    item = caching_items(PagesRead(observations=()), notes)[0]
    assert (item.code, item.result) == ("header-lint", result)
    assert "STORE_PUBLIC_UNNECESSARY" not in str(item) and "CL_INCORRECT" not in str(item)


def test_a_warning_of_httplint_is_told() -> None:
    """It stands in the evidence and fails nothing."""
    notes = [("/orders", note) for note in lint(seen(DATE | PRIVATE), "https://shop.example/orders")]
    item = caching_items(PagesRead(observations=()), notes)[0]
    assert item.result == "pass" and any("CC_CONFLICTING" in line for line in item.evidence)


HIT, MISS = {"x-cache": "HIT"}, {"x-cache": "MISS"}


@pytest.mark.parametrize(
    ("turn", "evidence"),
    [
        ([seen(PRIVATE, "alice", ("alice",)), seen({}), seen(PRIVATE, "bob", ("bob",)), seen({})], ()),
        ([seen(SHARED | MISS, "alice"), seen(SHARED | HIT), seen(SHARED | HIT, "bob")], ()),
        (
            [seen(PRIVATE, "alice", ("alice",)), seen(PRIVATE, "anonymous", ("alice",))],
            ("/orders as anonymous shows the page of alice",),
        ),
        (
            [seen(PRIVATE, "alice", ("alice",)), seen(PRIVATE, "bob", ("alice", "bob"))],
            ("/orders as bob shows the page of alice",),
        ),
        (
            [seen(PRIVATE, "alice", ("alice",)), seen(PRIVATE | HIT, "bob")],
            ("/orders as bob is a hit, and the page is personal",),
        ),
        (
            [seen(SHARED | MISS | SETS), seen(SHARED | HIT | SETS)],
            ("/orders as anonymous is a hit that sets a cookie",),
        ),
        (
            [seen({}, "alice", ("alice",))],
            ("/orders as alice is personal and says neither private nor no-store nor Vary: Cookie",),
        ),
    ],
)
def test_the_leak_probe(turn: list[Observation], evidence: tuple[str, ...]) -> None:
    """Somebody else's marker, a hit on a personal page, a replayed cookie, and a personal page that nothing protects."""
    item = leak_item([turn], pairs=True)
    assert item.evidence == evidence
    assert item.result == ("fail" if evidence else "pass")
