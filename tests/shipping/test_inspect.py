"""Inspecting the routes of a change on a real web server."""

from __future__ import annotations

import httpx
import pytest

from slipway.config.change import Change
from slipway.config.plan import Plan
from slipway.config.service import Identity, Service
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.settings import EnvironmentReference
from slipway.measurement.pages import visitor
from slipway.shipping.inspect import inspect_headers
from tests.sites import Answer, Request, Site

PUBLIC = {"Cache-Control": "public, max-age=60", "X-Cache": "MISS"}
PRIVATE = {"Cache-Control": "private"}
WRONG = (
    "Signing in to shop as alice failed: POST /sign-in answered {}, and /account does not show 'Signed in as Alice'."
)
PASSWORDS = {"alice": "hunter2-alice", "bob": "hunter2-bob"}


def identity(name: str) -> Identity:
    """A test user of the shop."""
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
    """A sign-in that checks the password and sets a cookie."""
    user = request.form["user"]
    if request.form["password"] != PASSWORDS[user]:
        return Answer("wrong password", 401)
    return Answer("", 303, {"Location": "/account", "Set-Cookie": f"session={user}; Path=/"})


def who(request: Request) -> str:
    """Whom the cookie of a request belongs to."""
    return request.cookie.removeprefix("session=")


def personal(request: Request) -> Answer:
    """A page that greets who is signed in."""
    return Answer(f"Signed in as {who(request).title()}" if who(request) else "Please sign in", headers=PRIVATE)


@pytest.fixture
def shop(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A shop with two users, whose passwords stand in the environment."""
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
    """A plan with these (route, identity) as targets."""
    service = Service(name="shop", url=site.url, routes=("/*",), identities=(identity("alice"), identity("bob")))
    words = {"owner": "shop team", "reason": "it is slow", "expected": "it is faster", "rollback": "nothing is lost"}
    measure = {
        "targets": [{"route": route, "identity": name} for route, name in targets],
        "control": {"route": "/products/1"},
    }
    change = Change.model_validate(
        {"service": "shop", **words, "measure": measure, "purge": {"routes": [purge]} if purge else None}
    )
    return Plan(name="faster", digest="", change=change, service=service, commit="", files=(), migration_sql="")


def refusal(asked: Plan) -> SlipwayError:
    """The error of an inspection."""
    with pytest.raises(SlipwayError) as failed:
        inspect_headers(asked)
    assert not [password for password in PASSWORDS.values() if password in str(failed.value)]
    return failed.value


def test_what_each_route_sent(shop: Site) -> None:
    """Every route is read as its identity and as nobody, and what it sent is a finding."""
    inspection = inspect_headers(plan(shop, ("/orders", "alice"), purge="/products/1"))
    assert [(finding.code, finding.level, finding.summary) for finding in inspection.findings] == [
        ("cache-headers", "info", "/orders as alice: 200, pass, Cache-Control: private"),
        ("cache-headers", "info", "/orders as anonymous: 200, pass, Cache-Control: private"),
        ("cache-headers", "info", "/products/1 as anonymous: 200, miss, Cache-Control: public, max-age=60"),
    ]
    assert shop.written() == ["POST /sign-in"]


def test_a_warning_is_a_finding_and_no_obstacle(shop: Site) -> None:
    """A route without Cache-Control is told, and the change may go on."""
    shop.pages["/orders"] = Answer()
    inspection = inspect_headers(plan(shop, ("/orders", "anonymous")))
    assert [finding.code for finding in inspection.findings if finding.level == "warning"] == ["no-cache-control"]


def test_a_wrong_password(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign-in that the service refuses stops the run, with the answer and without the password."""
    monkeypatch.setenv("TEST_ALICE_PASSWORD", "hunter2")
    error = refusal(plan(shop, ("/orders", "alice")))
    assert error.failed == WRONG.format(401)
    assert error.expected == (
        "A sign-in after which the page shows the identity's marker; check the test user and its secret."
    )
    assert error.retry_is_safe and "hunter2" not in str(error)


def test_a_sign_in_without_its_marker(shop: Site) -> None:
    """A sign-in that answers well and changes nothing is found out by the marker."""
    shop.pages["POST /sign-in"] = Answer("welcome")
    assert refusal(plan(shop, ("/orders", "alice"))).failed == WRONG.format(200)


def test_a_personal_page_that_may_be_stored(shop: Site) -> None:
    """A page that shows the user and allows shared caches to keep it stops the run."""
    shop.pages["/orders"] = lambda request: Answer(personal(request).body, headers=PUBLIC)
    error = refusal(plan(shop, ("/orders", "alice")))
    assert error.failed == "/orders as alice is personal and may be stored by a shared cache."
    assert error.expected == (
        "No personal page in a shared cache. Another visitor would be shown this person's page. "
        "Send Cache-Control: private or no-store (RFC 9111, section 5.2.2.7)."
    )
    assert error.retry_is_safe


def test_a_leak_to_anonymous(shop: Site) -> None:
    """A page that shows a signed-in user to somebody without a cookie stops the run."""
    seen: list[str] = []

    def keep(request: Request) -> Answer:
        seen.append(who(request) or seen[-1])  # a cache that does not look at the cookie
        return Answer(f"Signed in as {seen[-1].title()}", headers=PRIVATE)

    shop.pages["/orders"] = keep
    error = refusal(plan(shop, ("/orders", "alice")))
    assert error.failed == "/orders shows a signed-in person's page to an anonymous visitor."
    assert error.expected == (
        "No personal page in a shared cache. The cache stored a personal page. Purge it, and send "
        "Cache-Control: private or no-store."
    )


def test_somebody_elses_page_is_a_leak_on_a_purged_route_too(shop: Site) -> None:
    """Routes that are only purged are inspected as well."""
    shop.pages["/products/2"] = Answer("Signed in as Bob", headers=PUBLIC)
    error = refusal(plan(shop, ("/account", "anonymous"), purge="/products/2"))
    assert error.failed == (
        "/products/2 as anonymous is personal and may be stored by a shared cache. "
        "/products/2 shows a signed-in person's page to an anonymous visitor."
    )


def test_each_identity_has_its_own_cookies(shop: Site) -> None:
    """Two users and nobody are three clients: no cookie of one is sent by another."""
    inspect_headers(plan(shop, ("/orders", "alice"), ("/orders", "bob")))
    read = [who(request) for request in shop.requests if request.target == "/orders"]
    assert read == ["alice", "bob", ""]
    assert [request.cookie for request in shop.requests if request.method == "POST"] == ["", ""]


@pytest.mark.parametrize("status", [404, 500])
def test_a_route_that_has_no_page(shop: Site, status: int) -> None:
    """A route that answers with an error cannot be measured and stops the run."""
    shop.pages["/orders"] = Answer("no", status)
    error = refusal(plan(shop, ("/orders", "anonymous")))
    assert error.failed == f"Service shop answers /orders as anonymous with {status}."
    assert error.expected == "A page that can be measured."
    assert error.retry_is_safe


def test_a_redirect_is_not_followed(shop: Site) -> None:
    """A redirect is an answer of its own: another page is not read in its place."""
    shop.pages["/orders"] = Answer("", 303, {"Location": "/elsewhere", **PRIVATE})
    inspection = inspect_headers(plan(shop, ("/orders", "anonymous")))
    assert inspection.findings[0].summary == "/orders as anonymous: 303, pass, Cache-Control: private"
    assert "/elsewhere" not in shop.asked("GET")


def test_a_service_that_is_away() -> None:
    """A service that does not answer is Unavailable: asking again may help."""
    with Site() as gone:
        asked = plan(gone, ("/orders", "anonymous"))
    error = refusal(asked)
    assert isinstance(error, Unavailable)
    assert str(error) == (
        "Service shop does not answer GET /orders: ConnectError. Expected: An answer within 10 s. A retry is safe."
    )


def test_a_visitor_is_signed_in(shop: Site) -> None:
    """A visitor's client carries the cookie of its own identity, and goes away closed."""
    with visitor(plan(shop, ("/orders", "alice")).service, identity("alice")) as client:
        assert client.get("/account").text == "Signed in as Alice"
    assert isinstance(client, httpx.Client) and client.is_closed
