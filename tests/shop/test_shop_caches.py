"""The shop behind Varnish and behind nginx: what is stored, what is not, and what a purge removes."""

import pytest


def label(cache, path, **options):
    """Fetch with a fresh client and return the cache's label."""
    answer = cache.get(path, **options)
    assert answer.is_success or answer.is_redirect, answer.text
    return answer.headers["X-Cache"]


def warm(cache, *paths):
    """Bring pages into the cache and make sure that they are hits."""
    for path in paths:
        label(cache, path)
        assert label(cache, path) == "HIT"


def test_an_anonymous_page_is_stored(cache):
    """The first reader misses, the next one hits, also with cookies that mean nothing to the shop."""
    assert label(cache, "/products/1") == "MISS"
    assert label(cache, "/products/1") == "HIT"
    assert label(cache, "/products/1", headers={"Cookie": "theme=dark; not_shop_session=1"}) == "HIT"


def test_a_session_passes(cache, alices_cookie):
    """A signed-in reader gets the own page past the cache, and leaves nothing behind for others."""
    warm(cache, "/products/2")
    headers = {"Cookie": f"theme=dark; {alices_cookie['Cookie']}"}
    own = cache.get("/products/2", headers=headers)
    assert own.headers["X-Cache"] == "PASS" and "Signed in as Alice" in own.text
    after = cache.get("/products/2")
    assert after.headers["X-Cache"] == "HIT" and "Signed in" not in after.text


@pytest.mark.parametrize("value", ["", "0"])
def test_an_odd_session_cookie_passes_too(cache, value):
    """Only the presence of the cookie counts, so that the cache never judges a session."""
    warm(cache, "/products/2")
    assert label(cache, "/products/2", headers={"Cookie": f"shop_session={value}"}) == "PASS"


@pytest.mark.parametrize("path", ["/orders", "/account", "/sign-in", "/health"])
def test_a_private_page_is_never_stored(cache, alices_cookie, path):
    """Private pages pass every time, for customers and for anonymous readers."""
    assert [label(cache, path, headers=alices_cookie) for _ in range(2)] == ["PASS", "PASS"]
    assert [label(cache, path) for _ in range(2)] == ["PASS", "PASS"]
    assert "Alice" not in cache.get(path).text


def test_signing_in_works_through_the_cache(cache, sign_in):
    """The form reaches the shop and the cookie comes back."""
    answer = sign_in(cache.url)
    assert answer.status_code == 303 and "shop_session" in answer.cookies
    assert answer.headers["X-Cache"] == "PASS"


def test_a_hit_can_be_unchanged(cache):
    """The cache itself answers If-None-Match with 304."""
    warm(cache, "/products/3")
    etag = cache.get("/products/3").headers["ETag"]
    again = cache.get("/products/3", headers={"If-None-Match": etag})
    assert (again.status_code, again.headers["X-Cache"]) == (304, "HIT")


@pytest.mark.parametrize("path", ["/", "/products/4", "/products?page=2", "/products/4?q=%C3%A4%20b&r=a+b%2Fc"])
def test_a_purge_removes_one_url(cache, token, path):
    """The purged URL is a miss on the next GET and a hit again after it; other URLs stay hits."""
    others = ["/products/5", "/products/4?q=other"]
    warm(cache, path, *others)
    assert cache.purge(path, x_purge_token=token).status_code == 200
    assert [label(cache, other) for other in others] == ["HIT", "HIT"]
    assert [label(cache, path) for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("headers", [{}, {"x_purge_token": ""}, {"x_purge_token": "wrong"}])
def test_a_purge_needs_the_token(cache, headers):
    """A missing or wrong token is refused and nothing is purged."""
    warm(cache, "/products/6")
    assert cache.purge("/products/6", **headers).status_code == 403
    assert label(cache, "/products/6") == "HIT"


def test_every_answer_of_the_shop_keeps_its_headers(cache):
    """Release and surrogate keys are still there on a hit."""
    warm(cache, "/products/7")
    headers = cache.get("/products/7").headers
    assert headers["X-Release"] == "test-release"
    assert headers["Surrogate-Key"] == "products product-7"


def test_varnish_purges_by_tag(varnish, token):
    """The pages with one of the tags become misses, the others stay hits, and the answer counts them."""
    warm(varnish, "/products/8", "/products/8?again", "/products/9", "/products/10")
    answer = varnish.purge("/", x_purge_token=token, xkey_purge="product-8 product-9 product-none")
    assert (answer.status_code, answer.headers["X-Purged"]) == (200, "3")
    assert [label(varnish, path) for path in ("/products/8", "/products/9", "/products/10")] == ["MISS", "MISS", "HIT"]


def test_varnish_purges_by_tag_only_with_the_token(varnish):
    """A tag purge with a wrong token is refused and nothing is purged."""
    warm(varnish, "/products/11")
    assert varnish.purge("/", x_purge_token="wrong", xkey_purge="product-11").status_code == 403
    assert label(varnish, "/products/11") == "HIT"


def test_nginx_says_when_there_was_nothing_to_purge(nginx, token):
    """A second purge of the same URL answers 404."""
    warm(nginx, "/products/12")
    answers = [nginx.purge("/products/12", x_purge_token=token).status_code for _ in range(2)]
    assert answers == [200, 404]
