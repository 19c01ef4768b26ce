"""Tests of the audit on a real web server: each item passes, fails, and reports why it could not be checked."""

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
ON_HTTP = {"transport-security", "cookie-secure"}  # not checked, because the tests' server uses http


class Shop(Site):
    """A shop with two users and an access log that passes every item."""

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
        """Refuse a body that is too large, and store any other."""
        if int(request.headers["Content-Length"]) > LIMIT:
            return Answer("too large", 413)
        return self.take(request)

    def take(self, request: Request) -> Answer:
        """Store any body."""
        self.stored.append("a body")
        return Answer("", 303, {"Location": "/uploads"})

    def answer(self, request: Request) -> Answer:
        """Write the access log."""
        with self.log.open("a") as log:
            log.write(f"{request.method} {request.target}\n")
        return super().answer(request)


def identity(name: str) -> dict[str, object]:
    """Return the entry of a test user."""
    return {
        "name": name,
        "sign_in": {"path": "/sign-in", "form": {"user": name}},
        "marker": f"Signed in as {name.title()}",
        "marker_route": "/account",
    }


def signed_in(request: Request, flags: str) -> Answer:
    """Return the response of a sign-in, which sets a cookie."""
    return Answer(
        "", 303, PRIVATE | {"Location": "/", "Set-Cookie": f"session={request.form['user']}; Path=/; {flags}"}
    )


def account(request: Request, headers: dict[str, str] = PRIVATE) -> Answer:
    """Return a page that greets the signed-in user."""
    name = request.cookie.removeprefix("session=")
    return Answer(f"Signed in as {name.title()}" if name else "Please sign in", headers=headers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of slipway.toml, with a repository without secrets."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "shop.toml").write_text('password = { env = "SHOP_PASSWORD" }\n')
    return tmp_path


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    """Start the shop."""
    with Shop(folder) as running:
        yield running


def audited(shop: Shop, folder: Path, **entry: object) -> Audit:
    """Audit the shop, with parts of its entry replaced."""
    return audit_service(Service.model_validate(shop.entry | entry), folder)


def item(audit: Audit, code: str) -> AuditItem:
    """Return the item with a code. Every code occurs once."""
    [match] = [each for each in audit.items if each.code == code]
    return match


def codes(audit: Audit, result: str) -> set[str]:
    """Return the codes of the items with one result."""
    return {each.code for each in audit.items if each.result == result}


def test_a_good_shop_passes(shop: Shop, folder: Path) -> None:
    """No item fails, and unchecked items state the reason. The only posts are the sign-ins and the upload probe."""
    audit = audited(shop, folder)
    assert [each for each in audit.items if each.result == "fail"] == []
    assert codes(audit, "not checked") == {*ON_HTTP, "database-role"}
    assert all(each.summary for each in audit.items) and len(audit.items) == 19
    assert (
        set(shop.non_get_requests()) == {"POST /sign-in", "POST /upload"}
        and shop.non_get_requests().count("POST /upload") == 1
    )
    assert shop.stored == []
    assert item(audit, "upload-limit").summary == (
        "A body of 1,001 bytes was refused with 413, and /uploads is unchanged."
    )


def without(name: str) -> dict[str, str]:
    """Return the headers of a shared page without the header `name`."""
    return {header: value for header, value in SHARED.items() if header != name}


def stored_for_all() -> Page:
    """Return a page behind a cache that ignores the cookie and replays the first response to everyone."""
    stored: dict[str, Answer] = {}

    def answer(request: Request) -> Answer:
        if request.target in stored:
            return Answer(stored[request.target].body, headers=PRIVATE | {"X-Cache": "HIT"})
        return stored.setdefault(request.target, account(request, PRIVATE | {"X-Cache": "MISS"}))

    return answer


@pytest.mark.parametrize(
    ("place", "page", "code", "problem"),
    [
        ("/", Answer(headers=SHARED | {"Cache-Control": "max-age=soon"}), "header-lint", "CC_BAD_VALUE_TYPE"),
        ("/", Answer(headers=SHARED | {"Set-Cookie": "a=1; HttpOnly; SameSite=Lax"}), "cookie-storable", "/ as anon"),
        ("/", Answer(headers=SHARED | {"Vary": "*"}), "vary", "/ as bob sends Vary: *"),
        ("/", Answer(headers=without("Content-Security-Policy") | {"X-Frame-Options": "DENY"}),
         "content-security-policy", "/ as alice: no Content-Security-Policy"),
        ("/", Answer(headers=without("X-Content-Type-Options")), "content-type-options", "/ as alice: no X-Cont"),
        ("/", Answer(headers=without("Referrer-Policy")), "referrer-policy", "/ as alice: no Referrer-Policy"),
        ("/", Answer(headers=SHARED | {"Content-Security-Policy": "default-src 'self'"}), "frame-protection", "neither"),
        ("POST /sign-in", lambda request: signed_in(request, "SameSite=Lax"), "cookie-flags",
         "POST /sign-in as alice: the cookie session lacks HttpOnly"),
        ("/account", stored_for_all(), "leak-probe", "/account?probe=… as anonymous shows the page of alice"),
        ("/", Answer("Traceback (most recent call last):", 404, PRIVATE), "error-page", "/ as alice (404) discloses a"),
        ("POST /upload", Answer("thank you"), "upload-limit", "POST /upload answered 1,001 bytes with 200, not 413"),
    ],
)  # fmt: skip
def test_one_problem_fails_one_item(shop: Shop, folder: Path, place: str, page: Page, code: str, problem: str) -> None:
    """Only the item about the problem fails, with the place and the fix."""
    shop.pages[place] = page
    audit = audited(shop, folder)
    assert codes(audit, "fail") == {code}
    assert any(problem in line for line in item(audit, code).evidence), item(audit, code).evidence
    assert item(audit, code).mend


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Cache-Control": "max-age=60"}, {"personal-pages", "leak-probe", "vary"}),
        (PRIVATE | {"CDN-Cache-Control": "max-age=60"}, {"personal-pages", "leak-probe", "targeted-cache-control"}),
        (PRIVATE | {"Surrogate-Control": "max-age=60"}, {"personal-pages", "leak-probe", "surrogate-control"}),
    ],
)
def test_a_storable_personal_page_fails(shop: Shop, folder: Path, headers: dict[str, str], expected: set[str]) -> None:
    """Every item that the page violates fails."""
    shop.pages["/account"] = lambda request: account(request, SAFE | headers)
    assert codes(audited(shop, folder), "fail") == expected


def test_a_refused_but_stored_upload_fails(shop: Shop, folder: Path) -> None:
    """The page that must not change shows that the service stored the refused body."""
    shop.pages["POST /upload"] = lambda request: Answer(shop.take(request).body, 413)
    upload = item(audited(shop, folder), "upload-limit")
    assert upload.evidence == ("/uploads changed after a body of 1,001 bytes",)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_an_upload_refused_for_another_reason_is_not_checked(shop: Shop, folder: Path, status: int) -> None:
    """A response that does not depend on the size is neither a pass nor a failure."""
    shop.pages["POST /upload"] = Answer("", status)
    upload = item(audited(shop, folder), "upload-limit")
    assert (upload.result, upload.summary) == (
        "not checked",
        f"POST /upload answered {status} before it checked the size.",
    )


def test_undeclared_parts_are_not_checked(shop: Shop, folder: Path) -> None:
    """Without identities, upload, log and configuration, each item reports what is missing."""
    (folder / "repository" / "shop.toml").unlink()
    audit = audited(shop, folder, identities=[], upload=None, log=None)
    assert codes(audit, "fail") == set()
    assert {each.code: each.summary for each in audit.items if each.result == "not checked"} == {
        "personal-pages": "No identity is declared, so no page is known to be personal.",
        "transport-security": "The service's URL is not https.",
        "cookie-secure": "No page and no sign-in set a cookie.",
        "cookie-flags": "No page and no sign-in set a cookie.",
        "leak-probe": "No identity is declared, so there is no personal page to probe.",
        "upload-limit": "No upload is declared: [service.upload] in slipway.toml.",
        "database-role": "No database is declared.",
        "configuration-secrets": "There is no configuration file.",
        "logging": "No log file is declared: `log` in slipway.toml.",
    }
    assert shop.non_get_requests() == []


def test_unread_pages_prevent_a_pass(shop: Shop, folder: Path) -> None:
    """After a failed page or a refused sign-in, the items about pages do not pass. The evidence has the reason."""
    shop.pages["/"] = Answer("", 500)
    shop.pages["POST /sign-in"] = Answer("no", 401)
    nosniff = item(audited(shop, folder), "content-type-options")
    assert nosniff.result == "not checked"
    assert (
        nosniff.evidence[0].startswith("Signing in to shop as alice failed")
        and "/ as anonymous: 500" in nosniff.evidence
    )


def test_without_an_error_page_the_item_is_not_checked(shop: Shop, folder: Path) -> None:
    """A service that answers unknown URLs with 200 shows no error page."""
    everything: Callable[[Request], Answer] = super(Shop, shop).answer
    shop.answer = lambda request: (  # type: ignore[method-assign]
        Answer(headers=SHARED) if "slipway-audit" in request.target else everything(request)
    )
    error_page = item(audited(shop, folder, log=None), "error-page")
    assert (error_page.result, error_page.summary) == (
        "not checked",
        "The service answered an unknown URL with 200, not with an error page.",
    )


def test_a_server_version_on_an_error_page_fails(shop: Shop, folder: Path) -> None:
    """The Server header of error pages is checked too."""
    shop.software = "site/1.27.1"
    assert (
        item(audited(shop, folder), "error-page").evidence[0]
        == "/… as anonymous (404) discloses a version in the header server"
    )


def test_an_unreachable_service_raises_unavailable(shop: Shop, folder: Path) -> None:
    """The step is retried, and there is no audit without failures."""
    with pytest.raises(Unavailable):
        audited(shop, folder, url="http://127.0.0.1:9")


def test_secrets_in_the_repository(shop: Shop, folder: Path) -> None:
    """The evidence has the file and the line, not the secret. In a program only quoted values are literals."""
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


def test_untracked_files_are_skipped(shop: Shop, folder: Path) -> None:
    """Only files that git tracks belong to the repository."""
    repository = folder / "repository"
    for arguments in (["init", "-q"], ["add", "shop.toml"]):
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)
    (repository / ".env").write_text(f"PASSWORD={SECRET}\n")
    assert item(audited(shop, folder), "configuration-secrets").result == "pass"
    subprocess.run(["git", "-C", str(repository), "add", "-f", ".env"], check=True)
    assert item(audited(shop, folder), "configuration-secrets").evidence == (".env:1: a literal password",)


def test_a_file_that_is_too_large_prevents_a_pass(shop: Shop, folder: Path) -> None:
    """The file is not read, so the item does not pass."""
    (folder / "repository" / "large.json").write_text(" " * 300_000)
    secrets = item(audited(shop, folder), "configuration-secrets")
    assert (secrets.result, secrets.evidence) == ("not checked", ("large.json is larger than 256 KiB",))


def test_a_log_that_does_not_grow_fails(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that does not exist is not checked."""
    monkeypatch.setattr("slipway.auditing.runner.LOG_WITHIN_S", 0.2)
    (folder / "off.log").touch()
    logging = item(audited(shop, folder, log="off.log"), "logging")
    assert logging.evidence == ("off.log did not grow within 0.2 s of a request",)
    missing = item(audited(shop, folder, log="missing.log"), "logging")
    assert missing.summary == "Could not read the log missing.log on this machine: FileNotFoundError."
