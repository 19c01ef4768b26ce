"""Tests of the rules for shared caches and of the leak probe, with the real httplint."""

from __future__ import annotations

import pytest

from slipway.auditing.items.header_lint import lint
from slipway.auditing.items.leaks import leak_item
from slipway.auditing.items.shared_caching import caching_items
from slipway.auditing.report import Observation, PagesRead

SHARED = {"cache-control": "public, s-maxage=60"}
PRIVATE = {"cache-control": "private, no-store"}
SETS = {"set-cookie": "session=1"}


def page(headers: dict[str, str], identity: str = "anonymous", shows: tuple[str, ...] = ()) -> Observation:
    """Return one response of /orders."""
    return Observation(target="/orders", identity=identity, status=200, headers=tuple(headers.items()), shows=shows)


def failing(*observations: Observation) -> dict[str, tuple[str, ...]]:
    """Return the items that fail, with their evidence."""
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
def test_a_wrong_header_fails_its_item(headers: dict[str, str], shows: tuple[str, ...], codes: list[str]) -> None:
    """Each wrong header fails its own item. Correct headers fail no item."""
    assert list(failing(page(headers, "alice", shows))) == codes


def test_a_page_that_depends_on_the_cookie_needs_vary() -> None:
    """If signed-in users see another page, the stored page needs Vary: Cookie."""
    signed_in = page(PRIVATE, "alice", ("alice",))
    assert failing(page(SHARED | {"vary": "Accept-Encoding, Cookie"}), signed_in) == {}
    assert failing(page(SHARED), signed_in) == {
        "vary": ("/orders as anonymous may be stored without Vary: Cookie, but signed-in users see another page",)
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
def test_errors_of_httplint_fail(headers: dict[str, str], result: str) -> None:
    """An unnecessary `public` and a Content-Length without a body do not fail the item."""
    notes = [("/orders", note) for note in lint(page(DATE | headers), "https://shop.example/orders")]
    item = caching_items(PagesRead(observations=()), notes)[0]
    assert (item.code, item.result) == ("header-lint", result)
    assert "STORE_PUBLIC_UNNECESSARY" not in str(item) and "CL_INCORRECT" not in str(item)


def test_a_warning_of_httplint_does_not_fail() -> None:
    """The warning is in the evidence of the passed item."""
    notes = [("/orders", note) for note in lint(page(DATE | PRIVATE), "https://shop.example/orders")]
    item = caching_items(PagesRead(observations=()), notes)[0]
    assert item.result == "pass" and any("CC_CONFLICTING" in line for line in item.evidence)


HIT, MISS = {"x-cache": "HIT"}, {"x-cache": "MISS"}


@pytest.mark.parametrize(
    ("turn", "evidence"),
    [
        ([page(PRIVATE, "alice", ("alice",)), page({}), page(PRIVATE, "bob", ("bob",)), page({})], ()),
        ([page(SHARED | MISS, "alice"), page(SHARED | HIT), page(SHARED | HIT, "bob")], ()),
        (
            [page(PRIVATE, "alice", ("alice",)), page(PRIVATE, "anonymous", ("alice",))],
            ("/orders as anonymous shows the page of alice",),
        ),
        (
            [page(PRIVATE, "alice", ("alice",)), page(PRIVATE, "bob", ("alice", "bob"))],
            ("/orders as bob shows the page of alice",),
        ),
        (
            [page(PRIVATE, "alice", ("alice",)), page(PRIVATE | HIT, "bob")],
            ("/orders as bob is a hit, and the page is personal",),
        ),
        (
            [page(SHARED | MISS | SETS), page(SHARED | HIT | SETS)],
            ("/orders as anonymous is a hit that sets a cookie",),
        ),
        (
            [page({}, "alice", ("alice",))],
            ("/orders as alice is personal and sends neither private nor no-store nor Vary: Cookie",),
        ),
    ],
)
def test_the_leak_probe(turn: list[Observation], evidence: tuple[str, ...]) -> None:
    """Another user's marker, a hit on a personal page, a replayed cookie and an unprotected personal page fail."""
    item = leak_item([turn], pairs=True)
    assert item.evidence == evidence
    assert item.result == ("fail" if evidence else "pass")
