"""The shop behind Varnish and behind nginx: stored pages, pages that are not stored, and purges."""

import pytest


def label(cache, path, **options):
    """Fetch a page with a new client and return the cache's label."""
    response = cache.get(path, **options)
    assert response.is_success or response.is_redirect, response.text
    return response.headers["X-Cache"]


def warm(cache, *paths):
    """Bring pages into the cache and check that they are hits."""
    for path in paths:
        label(cache, path)
        assert label(cache, path) == "HIT"


def test_an_anonymous_page_is_stored(cache):
    """The first read is a miss and the next one a hit, also with cookies that the shop does not use."""
    assert label(cache, "/products/1") == "MISS"
    assert label(cache, "/products/1") == "HIT"
    assert label(cache, "/products/1", headers={"Cookie": "theme=dark; not_shop_session=1"}) == "HIT"


def test_a_request_with_a_session_passes_the_cache(cache, alices_cookie):
    """A signed-in customer gets a personal page past the cache, and the cache does not store this page."""
    warm(cache, "/products/2")
    headers = {"Cookie": f"theme=dark; {alices_cookie['Cookie']}"}
    personal = cache.get("/products/2", headers=headers)
    assert personal.headers["X-Cache"] == "PASS" and "Signed in as Alice" in personal.text
    after = cache.get("/products/2")
    assert after.headers["X-Cache"] == "HIT" and "Signed in" not in after.text


@pytest.mark.parametrize("value", ["", "0"])
def test_an_odd_session_cookie_passes_too(cache, value):
    """Every request with the cookie passes, whatever its value, so that the cache never validates a session."""
    warm(cache, "/products/2")
    assert label(cache, "/products/2", headers={"Cookie": f"shop_session={value}"}) == "PASS"


@pytest.mark.parametrize("path", ["/orders", "/account", "/sign-in", "/health"])
def test_a_private_page_is_never_stored(cache, alices_cookie, path):
    """Private pages always pass, for customers and for anonymous visitors."""
    assert [label(cache, path, headers=alices_cookie) for _ in range(2)] == ["PASS", "PASS"]
    assert [label(cache, path) for _ in range(2)] == ["PASS", "PASS"]
    assert "Alice" not in cache.get(path).text


def test_signing_in_works_through_the_cache(cache, sign_in):
    """The form reaches the shop, and the cookie reaches the customer."""
    response = sign_in(cache.url)
    assert response.status_code == 303 and "shop_session" in response.cookies
    assert response.headers["X-Cache"] == "PASS"


def test_a_hit_answers_304_to_a_matching_etag(cache):
    """The cache itself answers If-None-Match with 304."""
    warm(cache, "/products/3")
    etag = cache.get("/products/3").headers["ETag"]
    again = cache.get("/products/3", headers={"If-None-Match": etag})
    assert (again.status_code, again.headers["X-Cache"]) == (304, "HIT")


@pytest.mark.parametrize("path", ["/", "/products/4", "/products?page=2", "/products/4?q=%C3%A4%20b&r=a+b%2Fc"])
def test_a_purge_removes_one_url(cache, token, path):
    """The next GET of the purged URL is a miss, and the one after that a hit. Other URLs stay hits."""
    others = ["/products/5", "/products/4?q=other"]
    warm(cache, path, *others)
    assert cache.purge(path, x_purge_token=token).status_code == 200
    assert [label(cache, other) for other in others] == ["HIT", "HIT"]
    assert [label(cache, path) for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("headers", [{}, {"x_purge_token": ""}, {"x_purge_token": "wrong"}])
def test_a_purge_needs_the_token(cache, headers):
    """A missing or wrong token is refused, and nothing is purged."""
    warm(cache, "/products/6")
    assert cache.purge("/products/6", **headers).status_code == 403
    assert label(cache, "/products/6") == "HIT"


def test_a_hit_keeps_the_headers_of_the_shop(cache):
    """A hit has the release and surrogate key headers too."""
    warm(cache, "/products/7")
    headers = cache.get("/products/7").headers
    assert headers["X-Release"] == "test-release"
    assert headers["Surrogate-Key"] == "products product-7"


def test_varnish_purges_by_tag(varnish, token):
    """Pages with one of the tags become misses, the others stay hits, and the response has the number of purged pages."""
    warm(varnish, "/products/8", "/products/8?again", "/products/9", "/products/10")
    response = varnish.purge("/", x_purge_token=token, xkey_purge="product-8 product-9 product-none")
    assert (response.status_code, response.headers["X-Purged"]) == (200, "3")
    assert [label(varnish, path) for path in ("/products/8", "/products/9", "/products/10")] == ["MISS", "MISS", "HIT"]


def test_varnish_purges_by_tag_only_with_the_token(varnish):
    """A tag purge with a wrong token is refused, and nothing is purged."""
    warm(varnish, "/products/11")
    assert varnish.purge("/", x_purge_token="wrong", xkey_purge="product-11").status_code == 403
    assert label(varnish, "/products/11") == "HIT"


def test_nginx_answers_404_when_nothing_was_stored(nginx, token):
    """A second purge of the same URL answers 404."""
    warm(nginx, "/products/12")
    statuses = [nginx.purge("/products/12", x_purge_token=token).status_code for _ in range(2)]
    assert statuses == [200, 404]
