"""The pages of the shop without a cache."""

import base64
import hashlib
import re

import httpx
import pytest

EVERY_PAGE = ["/", "/products", "/products?page=2", "/products/1", "/orders", "/account", "/sign-in", "/nowhere"]
CATALOGUE = ["/", "/products", "/products?page=2", "/products/1"]


def test_signing_in_sets_a_protected_cookie(shop_url, sign_in):
    """The correct password redirects to the account, with a cookie that scripts and other sites cannot use."""
    response = sign_in(shop_url)
    assert (response.status_code, response.headers["Location"]) == (303, "/account")
    assert {"HttpOnly", "SameSite=lax"} <= set(response.headers["Set-Cookie"].split("; "))


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com", "customer-3@example.com"])
def test_a_wrong_password_shows_the_form_again(shop_url, sign_in, email):
    """A wrong password, an unknown address and a customer without a password get the same error."""
    response = sign_in(shop_url, email, "wrong")
    assert response.status_code == 401
    assert "The email address or the password is wrong." in response.text and 'name="password"' in response.text
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_a_signed_in_page_names_the_customer_and_is_private(get, alices_cookie, path):
    """Every page of a signed-in customer shows the name and must not be stored."""
    response = get(path, headers=alices_cookie)
    assert "Signed in as Alice" in response.text
    assert response.headers["Cache-Control"] == "private, no-store"
    assert "Surrogate-Key" not in response.headers


def test_a_forged_cookie_signs_nobody_in(get):
    """A cookie that the shop did not sign is ignored."""
    assert get("/account", headers={"Cookie": "shop_session=MQ.a.b"}).status_code == 303


def test_signing_out_removes_the_cookie(shop_url):
    """Signing out redirects to the home page and clears the cookie."""
    response = httpx.post(f"{shop_url}/sign-out", timeout=60)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert 'shop_session=""' in response.headers["Set-Cookie"]


@pytest.mark.parametrize("path", ["/orders", "/account"])
def test_pages_of_a_customer_ask_for_sign_in(get, path):
    """A customer's page redirects anonymous visitors to the sign-in, and no cache stores the redirect."""
    response = get(path)
    assert (response.status_code, response.headers["Location"]) == (303, "/sign-in")
    assert response.headers["Cache-Control"] == "private, no-store"


def test_the_customers_pages_show_the_orders(get, alices_cookie):
    """The history shows twenty orders; the account counts thirty open ones and shows five."""
    history = get("/orders", headers=alices_cookie).text
    account = get("/account", headers=alices_cookie).text
    assert history.count("<tr><td>") == 20
    assert "Open orders: 30" in account and account.count("<tr><td>") == 5


@pytest.mark.parametrize("path", CATALOGUE)
def test_an_anonymous_catalogue_page_may_be_shared(get, path):
    """A catalogue page has headers for shared caches: the lifetime, the tags, and Vary with the cookie."""
    headers = get(path).headers
    assert headers["Cache-Control"] == "public, max-age=0, s-maxage=3600"
    assert headers["Vary"] == "Cookie"
    assert "products" in headers["Surrogate-Key"].split()


@pytest.mark.parametrize("path", CATALOGUE)
def test_an_unchanged_page_is_not_sent_again(get, path):
    """If-None-Match with the page's ETag gives 304 without a body, and with another ETag the page."""
    etag = get(path).headers["ETag"]
    again = get(path, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/nowhere", "/products/0", "/products/999999", "/products/99999999999999999999", "/products/-1"),
        *(
            "/products/one",
            "/products?page=0",
            "/products?page=one",
            "/products?page=999",
            "/products?page=9" + "9" * 20,
        ),
    ],
)
def test_an_address_without_a_page_is_not_found(get, path):
    """An unknown or invalid id gives 404 with a small HTML page."""
    response = get(path)
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html") and "There is no such page" in response.text


@pytest.mark.parametrize("path", [*EVERY_PAGE, "/health"])
def test_every_answer_names_the_release(get, path):
    """Every response has X-Release, also errors and redirects."""
    assert get(path).headers["X-Release"] == "test-release"


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_every_page_has_security_headers(get, path):
    """The policy allows only the shop's own resources, and its style sheet by hash."""
    response = get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    for style in re.findall("<style>(.*?)</style>", response.text, re.S):
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
