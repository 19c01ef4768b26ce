"""Inspect the routes of a change on a real web server."""

from __future__ import annotations

import httpx
import pytest

from slipway.config.change import Change
from slipway.config.plan import Plan
from slipway.config.service import Identity, Service
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.settings import EnvironmentReference
from slipway.measurement.pages import service_client
from slipway.shipping.inspect import inspect_headers
from tests.sites import Answer, Request, Site

PUBLIC = {"Cache-Control": "public, max-age=60", "X-Cache": "MISS"}
PRIVATE = {"Cache-Control": "private"}
WRONG = (
    "Signing in to shop as alice failed: POST /sign-in answered {}, and /account does not show 'Signed in as Alice'."
)
PASSWORDS = {"alice": "hunter2-alice", "bob": "hunter2-bob"}


def identity(name: str) -> Identity:
    """Return a test user of the shop."""
    return Identity.model_validate(
        {
            "name": name,
            "sign_in": {
                "path": "/sign-in",
                "form": {"user": name, "password": EnvironmentReference(env=f"TEST_{name.upper()}_PASSWORD")},
            },
            "marker": f"Signed in as {name.title()}",
            "marker_route": "/account",
        }
    )


def sign_in(request: Request) -> Answer:
    """Answer a sign-in: check the password and set a cookie."""
    user = request.form["user"]
    if request.form["password"] != PASSWORDS[user]:
        return Answer("wrong password", 401)
    return Answer("", 303, {"Location": "/account", "Set-Cookie": f"session={user}; Path=/"})


def user_of(request: Request) -> str:
    """Return the user whose cookie the request carries, or an empty string."""
    return request.cookie.removeprefix("session=")


def personal(request: Request) -> Answer:
    """Answer with a page that greets the signed-in user."""
    return Answer(f"Signed in as {user_of(request).title()}" if user_of(request) else "Please sign in", headers=PRIVATE)


@pytest.fixture
def shop(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a shop with two users, whose passwords are in the environment."""
    for name, password in PASSWORDS.items():
        monkeypatch.setenv(f"TEST_{name.upper()}_PASSWORD", password)
    site.pages = {
        "POST /sign-in": sign_in,
        "/account": personal,
        "/orders": personal,
        "/products/1": Answer(headers=PUBLIC),
    }
    return site


def plan(site: Site, *targets: tuple[str, str], purge: str | None = None) -> Plan:
    """Return a plan with these (route, identity) pairs as targets."""
    service = Service(name="shop", url=site.url, routes=("/*",), identities=(identity("alice"), identity("bob")))
    texts = {"owner": "shop team", "reason": "it is slow", "expected": "it is faster", "rollback": "nothing is lost"}
    measure = {
        "targets": [{"route": route, "identity": name} for route, name in targets],
        "control": {"route": "/products/1"},
    }
    change = Change.model_validate(
        {"service": "shop", **texts, "measure": measure, "purge": {"routes": [purge]} if purge else None}
    )
    return Plan(name="faster", digest="", change=change, service=service, commit="", files=(), migration_sql="")


def refusal(plan: Plan) -> SlipwayError:
    """Return the error of an inspection, and assert that it contains no password."""
    with pytest.raises(SlipwayError) as raised:
        inspect_headers(plan)
    assert not [password for password in PASSWORDS.values() if password in str(raised.value)]
    return raised.value


def test_the_headers_of_each_route_are_a_finding(shop: Site) -> None:
    """Every route is read as its identity and anonymously, and its response headers are a finding."""
    inspection = inspect_headers(plan(shop, ("/orders", "alice"), purge="/products/1"))
    assert [(finding.code, finding.level, finding.summary) for finding in inspection.findings] == [
        ("cache-headers", "info", "/orders as alice: 200, pass, Cache-Control: private"),
        ("cache-headers", "info", "/orders as anonymous: 200, pass, Cache-Control: private"),
        ("cache-headers", "info", "/products/1 as anonymous: 200, miss, Cache-Control: public, max-age=60"),
    ]
    assert shop.non_get_requests() == ["POST /sign-in"]


def test_a_warning_does_not_stop_the_change(shop: Site) -> None:
    """A route without Cache-Control is reported, and the change continues."""
    shop.pages["/orders"] = Answer()
    inspection = inspect_headers(plan(shop, ("/orders", "anonymous")))
    assert [finding.code for finding in inspection.findings if finding.level == "warning"] == ["no-cache-control"]


def test_a_wrong_password_stops_the_run(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a refused sign-in contains the answer, and not the password."""
    monkeypatch.setenv("TEST_ALICE_PASSWORD", "hunter2")
    error = refusal(plan(shop, ("/orders", "alice")))
    assert error.failed == WRONG.format(401)
    assert error.expected == (
        "The page shows the identity's marker after the sign-in. Check the test user and its secret."
    )
    assert error.retry_is_safe and "hunter2" not in str(error)


def test_a_sign_in_without_its_marker_stops_the_run(shop: Site) -> None:
    """The marker detects a sign-in that answers 200 and does not sign in."""
    shop.pages["POST /sign-in"] = Answer("welcome")
    assert refusal(plan(shop, ("/orders", "alice"))).failed == WRONG.format(200)


def test_a_personal_page_that_shared_caches_may_store_stops_the_run(shop: Site) -> None:
    """A page that shows the user and allows shared caches to store it is an error."""
    shop.pages["/orders"] = lambda request: Answer(personal(request).body, headers=PUBLIC)
    error = refusal(plan(shop, ("/orders", "alice")))
    assert error.failed == "/orders as alice is personal and may be stored by a shared cache."
    assert error.expected == (
        "No shared cache stores a personal page. Other visitors could see this user's page. "
        "Send Cache-Control: private or no-store (RFC 9111, section 5.2.2.7)."
    )
    assert error.retry_is_safe


def test_a_personal_page_shown_to_an_anonymous_visitor_stops_the_run(shop: Site) -> None:
    """A page that shows a signed-in user to a visitor without a cookie is an error."""
    users: list[str] = []

    def cached(request: Request) -> Answer:
        users.append(user_of(request) or users[-1])  # like a cache that ignores the cookie
        return Answer(f"Signed in as {users[-1].title()}", headers=PRIVATE)

    shop.pages["/orders"] = cached
    error = refusal(plan(shop, ("/orders", "alice")))
    assert error.failed == "/orders shows a signed-in person's page to an anonymous visitor."
    assert error.expected == (
        "No shared cache stores a personal page. The cache stored a personal page. Purge it, and send "
        "Cache-Control: private or no-store."
    )


def test_a_leak_on_a_purged_route_stops_the_run(shop: Site) -> None:
    """Routes that are only purged are also inspected."""
    shop.pages["/products/2"] = Answer("Signed in as Bob", headers=PUBLIC)
    error = refusal(plan(shop, ("/account", "anonymous"), purge="/products/2"))
    assert error.failed == (
        "/products/2 as anonymous is personal and may be stored by a shared cache. "
        "/products/2 shows a signed-in person's page to an anonymous visitor."
    )


def test_each_identity_has_its_own_cookies(shop: Site) -> None:
    """Two users and an anonymous visitor are three clients; no client sends the cookie of another."""
    inspect_headers(plan(shop, ("/orders", "alice"), ("/orders", "bob")))
    users = [user_of(request) for request in shop.requests if request.target == "/orders"]
    assert users == ["alice", "bob", ""]
    assert [request.cookie for request in shop.requests if request.method == "POST"] == ["", ""]


@pytest.mark.parametrize("status", [404, 500])
def test_a_route_that_answers_with_an_error_stops_the_run(shop: Site, status: int) -> None:
    """A route that answers with an error status cannot be measured."""
    shop.pages["/orders"] = Answer("no", status)
    error = refusal(plan(shop, ("/orders", "anonymous")))
    assert error.failed == f"Service shop answers /orders as anonymous with {status}."
    assert error.expected == "The route answers with a status below 400, so that it can be measured."
    assert error.retry_is_safe


def test_a_redirect_is_not_followed(shop: Site) -> None:
    """A redirect is itself the response; its target is not read."""
    shop.pages["/orders"] = Answer("", 303, {"Location": "/elsewhere", **PRIVATE})
    inspection = inspect_headers(plan(shop, ("/orders", "anonymous")))
    assert inspection.findings[0].summary == "/orders as anonymous: 303, pass, Cache-Control: private"
    assert "/elsewhere" not in shop.requested("GET")


def test_a_service_that_does_not_answer_is_unavailable() -> None:
    """A service that does not answer raises Unavailable, so a retry is safe."""
    with Site() as gone:
        unreachable = plan(gone, ("/orders", "anonymous"))
    error = refusal(unreachable)
    assert isinstance(error, Unavailable)
    assert str(error) == (
        "Service shop does not answer GET /orders: ConnectError. Expected: The service answers within 10 s. A retry is safe."
    )


def test_a_client_is_signed_in_and_closed_at_the_end(shop: Site) -> None:
    """The client sends the cookie of its identity, and is closed after the block."""
    with service_client(plan(shop, ("/orders", "alice")).service, identity("alice")) as client:
        assert client.get("/account").text == "Signed in as Alice"
    assert isinstance(client, httpx.Client) and client.is_closed
