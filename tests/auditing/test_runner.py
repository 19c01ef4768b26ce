"""The audit of a real web server and a real PostgreSQL: each item is seen to pass, to fail, and to say why it cannot."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipway.auditing.report import Audit, AuditItem
from slipway.auditing.runner import audit_service
from slipway.config.service import Service
from slipway.core.errors import Unavailable
from tests.sites import Answer, Page, Request, Site

SAFE = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PRIVATE = SAFE | {"Cache-Control": "private, no-store", "Vary": "Cookie"}
SHARED = SAFE | {"Cache-Control": "s-maxage=60, max-age=0", "Vary": "Cookie"}
SECRET = "hunter2-of-the-shop"
LIMIT = 1_000
ON_HTTP = {"transport-security", "cookie-secure"}  # not checked, as the tests' server speaks http


class Shop(Site):
    """A shop with two users and an access log, on which everything is as it should be."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.log = folder / "access.log"
        self.log.touch()
        self.stored: list[str] = []
        self.entry: dict[str, object] = {
            "name": "shop",
            "url": self.url,
            "directory": "repository",
            "routes": ["/", "/products/*", "/account", "/upload"],
            "probe": {"watch": [{"route": "/products/1"}]},
            "identities": [identity("alice"), identity("bob")],
            "upload": {"route": "/upload", "limit_bytes": LIMIT, "unchanged": "/uploads"},
            "log": "access.log",
        }
        self.pages = {
            "/": Answer(headers=SHARED),
            "/products/1": Answer(headers=SHARED),
            "/account": account,
            "POST /sign-in": lambda request: signed_in(request, "HttpOnly; SameSite=Lax"),
            "POST /upload": self.upload,
            "GET /upload": Answer(headers=PRIVATE),
            "/uploads": lambda _: Answer(str(self.stored), headers=PRIVATE),
        }

    def upload(self, request: Request) -> Answer:
        """Refuse what is too large, and keep the rest."""
        if int(request.headers["Content-Length"]) > LIMIT:
            return Answer("too large", 413)
        return self.take(request)

    def take(self, request: Request) -> Answer:
        """Keep any body."""
        self.stored.append("a body")
        return Answer("", 303, {"Location": "/uploads"})

    def answer(self, request: Request) -> Answer:
        """Write the access log."""
        with self.log.open("a") as log:
            log.write(f"{request.method} {request.target}\n")
        return super().answer(request)


def identity(name: str) -> dict[str, object]:
    """A test user."""
    return {
        "name": name,
        "sign_in": {"path": "/sign-in", "form": {"user": name}},
        "marker": f"Signed in as {name.title()}",
        "marker_route": "/account",
    }


def signed_in(request: Request, flags: str) -> Answer:
    """A sign-in that sets a cookie."""
    return Answer(
        "", 303, PRIVATE | {"Location": "/", "Set-Cookie": f"session={request.form['user']}; Path=/; {flags}"}
    )


def account(request: Request, headers: dict[str, str] = PRIVATE) -> Answer:
    """A page that greets who is signed in."""
    name = request.cookie.removeprefix("session=")
    return Answer(f"Signed in as {name.title()}" if name else "Please sign in", headers=headers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where slipway.toml would lie, beside a repository without secrets."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "shop.toml").write_text('password = { env = "SHOP_PASSWORD" }\n')
    return tmp_path


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    """The shop, running."""
    with Shop(folder) as running:
        yield running


def audited(shop: Shop, folder: Path, **entry: object) -> Audit:
    """The audit of the shop, with some of its entry replaced."""
    return audit_service(Service.model_validate(shop.entry | entry), folder)


def item(audit: Audit, code: str) -> AuditItem:
    """One item; every code stands once."""
    [found] = [each for each in audit.items if each.code == code]
    return found


def codes(audit: Audit, result: str) -> set[str]:
    """The codes of the items with one result."""
    return {each.code for each in audit.items if each.result == result}


def test_a_shop_that_is_as_it_should_be(shop: Shop, folder: Path) -> None:
    """Nothing fails; what cannot be looked at says why; nothing was written but the sign-ins and the upload probe."""
    audit = audited(shop, folder)
    assert [each for each in audit.items if each.result == "fail"] == []
    assert codes(audit, "not checked") == {*ON_HTTP, "database-role"}
    assert all(each.summary for each in audit.items) and len(audit.items) == 19
    assert set(shop.written()) == {"POST /sign-in", "POST /upload"} and shop.written().count("POST /upload") == 1
    assert shop.stored == []
    assert item(audit, "upload-limit").summary == (
        "A body of 1,001 bytes was refused with 413, and /uploads shows the same."
    )


def without(name: str) -> dict[str, str]:
    """The headers of a shared page without one."""
    return {own: value for own, value in SHARED.items() if own != name}


def stored_for_all() -> Page:
    """A cache that does not look at the cookie, and replays what the first reader got."""
    kept: dict[str, Answer] = {}

    def answer(request: Request) -> Answer:
        if request.target in kept:
            return Answer(kept[request.target].body, headers=PRIVATE | {"X-Cache": "HIT"})
        return kept.setdefault(request.target, account(request, PRIVATE | {"X-Cache": "MISS"}))

    return answer


@pytest.mark.parametrize(
    ("place", "page", "code", "told"),
    [
        ("/", Answer(headers=SHARED | {"Cache-Control": "max-age=soon"}), "header-lint", "CC_BAD_VALUE_TYPE"),
        ("/", Answer(headers=SHARED | {"Set-Cookie": "a=1; HttpOnly; SameSite=Lax"}), "cookie-storable", "/ as anon"),
        ("/", Answer(headers=SHARED | {"Vary": "*"}), "vary", "/ as bob says Vary: *"),
        ("/", Answer(headers=without("Content-Security-Policy") | {"X-Frame-Options": "DENY"}),
         "content-security-policy", "/ as alice: no Content-Security-Policy"),
        ("/", Answer(headers=without("X-Content-Type-Options")), "content-type-options", "/ as alice: no X-Cont"),
        ("/", Answer(headers=without("Referrer-Policy")), "referrer-policy", "/ as alice: no Referrer-Policy"),
        ("/", Answer(headers=SHARED | {"Content-Security-Policy": "default-src 'self'"}), "frame-protection", "neither"),
        ("POST /sign-in", lambda request: signed_in(request, "SameSite=Lax"), "cookie-flags",
         "POST /sign-in as alice: the cookie session lacks HttpOnly"),
        ("/account", stored_for_all(), "leak-probe", "/account?probe=… as anonymous shows the page of alice"),
        ("/", Answer("Traceback (most recent call last):", 404, PRIVATE), "error-page", "/ as alice (404) tells a stack"),
        ("POST /upload", Answer("thank you"), "upload-limit", "POST /upload answered 1,001 bytes with 200, not 413"),
    ],
)  # fmt: skip
def test_one_thing_is_wrong(shop: Shop, folder: Path, place: str, page: Page, code: str, told: str) -> None:
    """Exactly the item that is about it fails, says where, and how to mend it."""
    shop.pages[place] = page
    audit = audited(shop, folder)
    assert codes(audit, "fail") == {code}
    assert any(told in line for line in item(audit, code).evidence), item(audit, code).evidence
    assert item(audit, code).mend


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Cache-Control": "max-age=60"}, {"personal-pages", "leak-probe", "vary"}),
        (PRIVATE | {"CDN-Cache-Control": "max-age=60"}, {"personal-pages", "leak-probe", "targeted-cache-control"}),
        (PRIVATE | {"Surrogate-Control": "max-age=60"}, {"personal-pages", "leak-probe", "surrogate-control"}),
    ],
)
def test_a_personal_page_that_may_be_stored(
    shop: Shop, folder: Path, headers: dict[str, str], expected: set[str]
) -> None:
    """It fails every item that it breaks."""
    shop.pages["/account"] = lambda request: account(request, SAFE | headers)
    assert codes(audited(shop, folder), "fail") == expected


def test_an_upload_that_changes_something(shop: Shop, folder: Path) -> None:
    """A body that is refused and kept all the same is found out by the page that must not change."""
    shop.pages["POST /upload"] = lambda request: Answer(shop.take(request).body, 413)
    found = item(audited(shop, folder), "upload-limit")
    assert found.evidence == ("/uploads shows something else after a body of 1,001 bytes",)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_an_upload_that_nobody_looked_at(shop: Shop, folder: Path, status: int) -> None:
    """An answer that says nothing about the size is no pass and no failure."""
    shop.pages["POST /upload"] = Answer("", status)
    found = item(audited(shop, folder), "upload-limit")
    assert (found.result, found.summary) == (
        "not checked",
        f"POST /upload answered {status} before it looked at the size.",
    )


def test_what_is_not_declared_is_not_checked(shop: Shop, folder: Path) -> None:
    """Without identities, upload, log, and configuration, each item says what is missing."""
    (folder / "repository" / "shop.toml").unlink()
    audit = audited(shop, folder, identities=[], upload=None, log=None)
    assert codes(audit, "fail") == set()
    assert {each.code: each.summary for each in audit.items if each.result == "not checked"} == {
        "personal-pages": "No identity is declared, so no page is known to be personal.",
        "transport-security": "The service's URL is not https.",
        "cookie-secure": "No page and no sign-in set a cookie.",
        "cookie-flags": "No page and no sign-in set a cookie.",
        "leak-probe": "No identity is declared, so nobody can be shown another's page.",
        "upload-limit": "No upload is declared: [service.upload] in slipway.toml.",
        "database-role": "No database is declared.",
        "configuration-secrets": "There is no configuration file.",
        "logging": "No log file is declared: `log` in slipway.toml.",
    }
    assert shop.written() == []


def test_pages_that_cannot_be_read(shop: Shop, folder: Path) -> None:
    """A page that fails and a sign-in that is refused keep the items about pages from passing, with the reason."""
    shop.pages["/"] = Answer("", 500)
    shop.pages["POST /sign-in"] = Answer("no", 401)
    found = item(audited(shop, folder), "content-type-options")
    assert found.result == "not checked"
    assert (
        found.evidence[0].startswith("Signing in to shop as alice failed") and "/ as anonymous: 500" in found.evidence
    )


def test_an_unknown_address_that_is_answered(shop: Shop, folder: Path) -> None:
    """A service that answers everything with 200 has shown no error page."""
    everything: Callable[[Request], Answer] = super(Shop, shop).answer
    shop.answer = lambda request: (  # type: ignore[method-assign]
        Answer(headers=SHARED) if "slipway-audit" in request.target else everything(request)
    )
    found = item(audited(shop, folder, log=None), "error-page")
    assert (found.result, found.summary) == ("not checked", "An address that nobody has was answered with 200.")


def test_a_server_that_tells_its_version(shop: Shop, folder: Path) -> None:
    """The header Server counts on error pages."""
    shop.software = "site/1.27.1"
    assert (
        item(audited(shop, folder), "error-page").evidence[0]
        == "/… as anonymous (404) tells a version in the header server"
    )


def test_a_service_that_is_away(shop: Shop, folder: Path) -> None:
    """There is nothing to look at: the step is tried again, and no audit says that nothing failed."""
    with pytest.raises(Unavailable):
        audited(shop, folder, url="http://127.0.0.1:9")


def test_secrets_in_the_repository(shop: Shop, folder: Path) -> None:
    """File and line are told, the secret is not; in a program only what stands in quotes counts."""
    repository = folder / "repository"
    (repository / "deploy").mkdir()
    (repository / "deploy" / "shop.yaml").write_text(f"name: shop\npassword: {SECRET}\n")
    (repository / "settings.py").write_text(f"SECRET_KEY = read_key()\nDB_PASSWORD = '{SECRET}'\n")
    (repository / ".env.example").write_text("PASSWORD=write-yours-here\n")
    (repository / "notes.md").write_text(f"password: {SECRET}\n")
    (repository / "linked.toml").symlink_to(repository / "notes.md")
    audit = audited(shop, folder)
    assert item(audit, "configuration-secrets").evidence == (
        "deploy/shop.yaml:2: a literal password",
        "settings.py:2: a literal password",
    )
    assert SECRET not in audit.model_dump_json()


def test_only_what_git_tracks_is_the_repository(shop: Shop, folder: Path) -> None:
    """A file that lies beside the tracked ones is the machine's own."""
    repository = folder / "repository"
    for arguments in (["init", "-q"], ["add", "shop.toml"]):
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)
    (repository / ".env").write_text(f"PASSWORD={SECRET}\n")
    assert item(audited(shop, folder), "configuration-secrets").result == "pass"
    subprocess.run(["git", "-C", str(repository), "add", "-f", ".env"], check=True)
    assert item(audited(shop, folder), "configuration-secrets").evidence == (".env:1: a literal password",)


def test_a_file_that_is_too_large(shop: Shop, folder: Path) -> None:
    """What was not read keeps the item from passing."""
    (folder / "repository" / "large.json").write_text(" " * 300_000)
    found = item(audited(shop, folder), "configuration-secrets")
    assert (found.result, found.evidence) == ("not checked", ("large.json is larger than 256 KiB",))


def test_a_log_that_is_off(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that does not grow fails; one that cannot be found is not checked."""
    monkeypatch.setattr("slipway.auditing.runner.LOG_WITHIN_S", 0.2)
    (folder / "off.log").touch()
    found = item(audited(shop, folder, log="off.log"), "logging")
    assert found.evidence == ("off.log did not grow within 0.2 s of a request",)
    missing = item(audited(shop, folder, log="missing.log"), "logging")
    assert missing.summary == "The log missing.log cannot be looked at here: FileNotFoundError."
