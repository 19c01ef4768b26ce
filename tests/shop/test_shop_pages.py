"""The pages of the shop without a cache."""

import base64
import hashlib
import re

import httpx
import pytest

EVERY_PAGE = ["/", "/products", "/products?page=2", "/products/1", "/orders", "/account", "/sign-in", "/nowhere"]
CATALOGUE = ["/", "/products", "/products?page=2", "/products/1"]


def test_signing_in_sets_a_careful_cookie(shop_url, sign_in):
    """The right password leads to the account with a cookie that scripts and other sites cannot use."""
    answer = sign_in(shop_url)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert {"HttpOnly", "SameSite=lax"} <= set(answer.headers["Set-Cookie"].split("; "))


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com", "customer-3@example.com"])
def test_a_wrong_password_shows_the_form_again(shop_url, sign_in, email):
    """A wrong password, an unknown address and a customer without password get the same refusal."""
    answer = sign_in(shop_url, email, "wrong")
    assert answer.status_code == 401
    assert "do not belong together" in answer.text and 'name="password"' in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_a_signed_in_page_names_the_customer_and_is_private(get, alices_cookie, path):
    """Every page of a signed-in customer carries the name and must not be stored."""
    answer = get(path, headers=alices_cookie)
    assert "Signed in as Alice" in answer.text
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "Surrogate-Key" not in answer.headers


def test_a_forged_cookie_signs_nobody_in(get):
    """A cookie that the shop did not sign counts as none."""
    assert get("/account", headers={"Cookie": "shop_session=MQ.a.b"}).status_code == 303


def test_signing_out_removes_the_cookie(shop_url):
    """Signing out leads home and empties the cookie."""
    answer = httpx.post(f"{shop_url}/sign-out", timeout=60)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert 'shop_session=""' in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("path", ["/orders", "/account"])
def test_pages_of_a_customer_ask_for_sign_in(get, path):
    """An anonymous reader of a customer's page is sent to sign in, and no cache keeps that."""
    answer = get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_the_customers_pages_show_the_orders(get, alices_cookie):
    """The history shows twenty orders; the account counts thirty open ones and shows five."""
    history = get("/orders", headers=alices_cookie).text
    account = get("/account", headers=alices_cookie).text
    assert history.count("<tr><td>") == 20
    assert "Open orders: 30" in account and account.count("<tr><td>") == 5


@pytest.mark.parametrize("path", CATALOGUE)
def test_an_anonymous_catalogue_page_may_be_shared(get, path):
    """A catalogue page tells shared caches how long, under which tags, and that the cookie matters."""
    headers = get(path).headers
    assert headers["Cache-Control"] == "public, max-age=0, s-maxage=3600"
    assert headers["Vary"] == "Cookie"
    assert "products" in headers["Surrogate-Key"].split()


@pytest.mark.parametrize("path", CATALOGUE)
def test_an_unchanged_page_is_not_sent_again(get, path):
    """If-None-Match with the page's own ETag gives 304 without a body, with another one the page."""
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
    """An unknown or ill-typed id gives 404 as a small HTML page."""
    answer = get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html") and "There is no such page" in answer.text


@pytest.mark.parametrize("path", [*EVERY_PAGE, "/health"])
def test_every_answer_names_the_release(get, path):
    """X-Release tells which release answered, on errors and redirections too."""
    assert get(path).headers["X-Release"] == "test-release"


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_every_page_tells_browsers_what_they_may_do(get, path):
    """Nothing but the shop's own is loaded, and its one style sheet is named by its hash."""
    answer = get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    for style in re.findall("<style>(.*?)</style>", answer.text, re.S):
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
