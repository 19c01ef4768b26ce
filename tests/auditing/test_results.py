"""Tests of the rules of the checklist: pass, fail, not checked, and new failures."""

from __future__ import annotations

import pytest

from slipway.auditing.items.database_role import role_item
from slipway.auditing.items.disclosures import disclosures, error_page_item
from slipway.auditing.items.literal_secrets import literal_secrets
from slipway.auditing.report import Audit, AuditItem, Observation, PagesRead
from slipway.auditing.results import checked, findings_of, mark_new_failures, not_checked, unfit, unless_unread
from slipway.config.audit_codes import AuditCode
from slipway.databases.postgresql.privileges import RoleRights


def audit(*items: AuditItem) -> Audit:
    """Return an audit of the shop."""
    return Audit(service="shop", items=items)


def failed(code: AuditCode, *evidence: str) -> AuditItem:
    """Return an item that failed."""
    return checked(code, "fine", "wrong", evidence, "fix it")


FINE = checked("vary", "fine", "wrong", [], "fix it")
UNKNOWN = not_checked("vary", "nobody can know")


@pytest.mark.parametrize(
    ("last", "now", "new"),
    [
        (None, failed("vary", "/a"), False),
        (audit(FINE), failed("vary", "/a"), True),
        (audit(UNKNOWN), failed("vary", "/a"), True),
        (audit(), failed("vary", "/a"), True),
        (audit(failed("vary", "/a")), failed("vary", "/a"), False),
        (audit(failed("vary", "/a", "/b")), failed("vary", "/a"), False),
        (audit(failed("vary", "/a")), failed("vary", "/a", "/b"), True),
        (audit(failed("vary", "/a")), FINE, False),
        (audit(failed("vary", "/a")), UNKNOWN, False),
    ],
)
def test_new_failures(last: Audit | None, now: AuditItem, new: bool) -> None:
    """A failure is new if the item did not fail in the last audit, or fails in more places. A first audit has none."""
    assert mark_new_failures(audit(now), last).items[0].new is new


@pytest.mark.parametrize(
    ("items", "results"),
    [
        ([FINE], ""),
        ([FINE, failed("leak-probe", "/a")], ""),
        ([failed("vary", "/a")], "vary (fail): wrong"),
        ([UNKNOWN], "vary (not checked): nobody can know"),
    ],
)
def test_a_required_item_must_pass(items: list[AuditItem], results: str) -> None:
    """Not checked is not a pass. Other items do not matter."""
    reason = f"shop does not pass the audit items that the change requires. {results} Nothing was changed."
    assert unfit(audit(*items), ["vary"]) == (reason if results else "")
    assert unfit(audit(*items), []) == ""


def test_failures_are_findings_of_the_change() -> None:
    """Failed items are findings in the record, with the fix."""
    [finding] = findings_of(audit(FINE, failed("vary", "/a"), UNKNOWN))
    assert (finding.code, finding.level, finding.explanation) == ("vary", "warning", "fix it")
    assert finding.summary == "The audit before the change: wrong"


def test_the_sentence_of_an_audit() -> None:
    """The sentence counts the results and the new failures."""
    current = audit(failed("vary", "/a"), failed("referrer-policy", "/b"), UNKNOWN)
    marked = mark_new_failures(current, audit(failed("vary", "/a")))
    assert marked.sentence == "2 fail (1 new), 0 pass, 1 not checked"
    assert audit(FINE).sentence == "0 fail, 1 pass, 0 not checked"


def test_evidence_is_bounded_and_unique() -> None:
    """Evidence has at most twenty different lines, and the number of further lines."""
    evidence = failed("vary", *[f"/{n % 30}" for n in range(1_000)]).evidence
    assert len(evidence) == 21 and evidence[-1] == "and 10 more"


def test_an_unread_page_prevents_a_pass() -> None:
    """If a page could not be read, an item does not pass, but it can still fail."""
    unread = PagesRead(observations=(), unread=("/orders as alice: 500",))
    assert unless_unread(FINE, unread).result == "not checked"
    assert unless_unread(FINE, unread).evidence == ("/orders as alice: 500",)
    assert unless_unread(failed("vary", "/a"), unread).result == "fail"
    assert unless_unread(FINE, PagesRead(observations=())) == FINE


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("<h1>Not found</h1><link href='/app/main.css'><a href=\"/home/index.html\">Select a page from here</a>", []),
        (
            'Traceback (most recent call last):\n  File "/srv/shop/app.py", line 7, in show',
            ["a stack trace", "a file path"],
        ),
        ("java.lang.NullPointerException\n\tat com.shop.Cart.add(Cart.java:42)", ["a stack trace"]),
        ("Error: no\n    at show (/srv/shop/index.js:10:5)", ["a stack trace", "a file path"]),
        ("cannot open /var/www/shop/settings.py", ["a file path"]),
        (r"cannot open C:\inetpub\shop", ["a file path"]),
        ("SELECT * FROM customers WHERE id = 1", ["SQL"]),
        ('{"error": "psycopg.errors.UndefinedTable"}', ["SQL"]),
        ("<hr>nginx/1.27.1", ["the version of a program"]),
        ("You see this as Django 5.2 runs with DEBUG = True", ["the version of a program"]),
    ],
)
def test_error_pages_disclose_details(body: str, kinds: list[str]) -> None:
    """Stack traces, file paths, SQL and versions are found. An ordinary page with links discloses nothing."""
    assert disclosures(Observation(target="/nothing", identity="anonymous", status=404, headers=(), body=body)) == kinds


@pytest.mark.parametrize(("server", "kinds"), [("nginx", []), ("nginx/1.27.1", ["a version in the header server"])])
def test_a_version_in_a_header(server: str, kinds: list[str]) -> None:
    """The name of a server is allowed. Its version helps an attacker."""
    error = Observation(target="/nothing", identity="anonymous", status=404, headers=(("server", server),))
    assert disclosures(error) == kinds
    assert error_page_item([error]).result == ("fail" if kinds else "pass")


SECRET = "hunter2-of-the-shop"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f'password = "{SECRET}"', "a literal password"),
        (f"password: {SECRET}", "a literal password"),
        (f"DB_PASSWORD={SECRET}", "a literal password"),
        (f'  "api_key": "{SECRET}",', "a literal api_key"),
        (f"export AUTH_TOKEN='{SECRET}'", "a literal token"),
        (f"form = {{ user = 'a', password = '{SECRET}' }}", "a literal password"),
        (f"url = postgresql://shop:{SECRET}@db.example/shop", "a URL with a password"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("# -----BEGIN PRIVATE KEY-----", "a private key"),
        ('password = { env = "SHOP_PASSWORD" }', ""),
        ("password: ${SHOP_PASSWORD}", ""),
        ("password: $SHOP_PASSWORD", ""),
        ("password: {{ shop_password }}", ""),
        ("password: ''", ""),
        ("password:", ""),
        ("secret: null", ""),
        ("url = postgresql://shop:${PASSWORD}@db.example/shop", ""),
        ("url = postgresql://shop@db.example/shop", ""),
        ('token_header = "X-Purge-Token"', ""),
        ('js-tokens: "^4.0.0"', ""),
        (f"# password = {SECRET}", ""),
        ("token @PURGE_TOKEN@;", ""),
        ("token = @PURGE_TOKEN@", ""),
    ],
)
def test_secrets_in_configuration(line: str, kind: str) -> None:
    """Literals are found, references are not. The result has the line and the kind, never the secret."""
    secrets = literal_secrets(f"[shop]\n{line}\n")
    assert secrets == ([(2, kind)] if kind else [])
    assert SECRET not in str(secrets)


@pytest.mark.parametrize(
    ("rights", "result", "evidence"),
    [
        ({}, "pass", ()),
        ({"may_create_databases": True}, "pass", ("shop may create databases",)),
        ({"may_create_roles": True}, "pass", ("shop may create roles",)),
        ({"superuser": True}, "fail", ("shop is a superuser",)),
        ({"owns_database": True}, "fail", ("shop owns the database",)),
        ({"tables": ("public.orders",)}, "fail", ("shop owns the table public.orders",)),
    ],
)
def test_superusers_and_owners_fail(rights: dict[str, object], result: str, evidence: tuple[str, ...]) -> None:
    """Other privileges of the role are evidence of a pass."""
    item = role_item(RoleRights.model_validate({"name": "shop", "superuser": False, "owns_database": False} | rights))
    assert (item.result, item.evidence) == (result, evidence)
    assert bool(item.mend) is (result == "fail")
