"""Audit: a checklist over one live service. It reads, and posts only to an upload route that the entry declares."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from slipway.auditing.configuration_files import configuration_files
from slipway.auditing.items.browser_headers import cookie_flags, security_headers
from slipway.auditing.items.database_role import role_item
from slipway.auditing.items.disclosures import error_page_item
from slipway.auditing.items.header_lint import lint
from slipway.auditing.items.leaks import leak_item
from slipway.auditing.items.literal_secrets import literal_secrets
from slipway.auditing.items.shared_caching import caching_items
from slipway.auditing.observations import probe_in_turn, read_pages, routes_to_read, unknown_page
from slipway.auditing.report import Audit, AuditItem, Observation, PagesRead
from slipway.auditing.results import checked, not_checked, unless_unread
from slipway.config.audit_codes import AuditCode
from slipway.config.service import Service, Upload
from slipway.core import cancellation
from slipway.core.errors import SlipwayError
from slipway.core.settings import resolve
from slipway.databases.opening import live_database
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.postgresql.privileges import rights_of
from slipway.measurement.pages import get, post, visitor

LOG_WITHIN_S = 5.0
NOT_LOOKED = {401, 403, 404, 405}  # answered before anybody looked at the size
UPLOAD_MEND = "Refuse larger bodies with 413 (RFC 9110, section 15.5.14), by Content-Length and while reading."
SECRETS_MEND = "Take the secret out, change it, and read it from the environment: the repository's history keeps it."
LOG_MEND = "Switch the service's request log on, and give it a place to write to."


def audit_service(service: Service, config_folder: Path) -> Audit:
    """Every item of the checklist; one that cannot be looked at says why. Paths of the entry are seen from `config_folder`.

    Raises SlipwayError when the service does not answer at all: then there is nothing to look at.
    """
    unknown = unknown_page(service)
    items = [
        *_page_items(service, unknown),
        _looked("leak-probe", lambda: _leak_probe(service)),
        _looked("upload-limit", lambda: _upload_limit(service)),
        _looked("database-role", lambda: _database_role(service, config_folder)),
        _looked("configuration-secrets", lambda: _secrets((config_folder / service.directory).resolve())),
        _looked("logging", lambda: _logging(service, config_folder)),
    ]
    return Audit(service=service.name, items=tuple(items))


def _looked(code: AuditCode, look: Callable[[], AuditItem]) -> AuditItem:
    try:
        return look()
    except SlipwayError as error:
        return not_checked(code, error.failed)


def _page_items(service: Service, unknown: Observation) -> list[AuditItem]:
    url = resolve(service.url).rstrip("/")
    https = url.startswith("https:")
    visit, signed_in = read_pages(service)
    read = [one for one in visit.observations if one.status < 500]
    linted = [(one.place, note) for one in read for note in lint(one, url + one.target)]
    errors = [one for one in (*visit.observations, *signed_in, unknown) if one.status >= 400]
    items = [
        *caching_items(PagesRead(observations=tuple(read)), linted),
        *security_headers(read, https=https),
        *cookie_flags([*read, *signed_in], https=https),
    ]
    items = [unless_unread(item, visit) for item in items]
    if not service.identities:
        unknowable = not_checked("personal-pages", "No identity is declared, so no page is known to be personal.")
        items = [unknowable if item.code == unknowable.code else item for item in items]
    return [*items, _error_page(unknown, errors)]


def _error_page(unknown: Observation, errors: list[Observation]) -> AuditItem:
    item = error_page_item(errors)
    if unknown.status < 400 and item.result == "pass":
        return not_checked(item.code, f"An address that nobody has was answered with {unknown.status}.")
    return item


def _leak_probe(service: Service) -> AuditItem:
    if not service.identities:
        return not_checked("leak-probe", "No identity is declared, so nobody can be shown another's page.")
    if not routes_to_read(service):
        return not_checked("leak-probe", "The entry names no address in full.")
    turns, unread = probe_in_turn(service)
    item = leak_item(turns, pairs=len(service.identities) > 1)
    return unless_unread(item, PagesRead(observations=(), unread=tuple(unread)))


def _upload_limit(service: Service) -> AuditItem:
    upload = service.upload
    if upload is None:
        return not_checked("upload-limit", "No upload is declared: [service.upload] in slipway.toml.")
    with visitor(service, service.identity(upload.identity)) as client:
        before = get(client, upload.unchanged, service.name).text if upload.unchanged else ""
        status = post(client, upload.route, service.name, b"x" * (upload.limit_bytes + 1)).status_code
        after = get(client, upload.unchanged, service.name).text if upload.unchanged else ""
    if status in NOT_LOOKED:
        return not_checked("upload-limit", f"POST {upload.route} answered {status} before it looked at the size.")
    problems = _upload_problems(upload, status, same=before == after)
    fine = f"A body of {upload.limit_bytes + 1:,} bytes was refused with 413" + (
        f", and {upload.unchanged} shows the same." if upload.unchanged else "."
    )
    return checked("upload-limit", fine, "A body over the limit is not refused.", problems, UPLOAD_MEND)


def _upload_problems(upload: Upload, status: int, *, same: bool) -> list[str]:
    size = f"{upload.limit_bytes + 1:,} bytes"
    wrong = [] if status == 413 else [f"POST {upload.route} answered {size} with {status}, not 413"]
    return wrong if same else [*wrong, f"{upload.unchanged} shows something else after a body of {size}"]


def _database_role(service: Service, config_folder: Path) -> AuditItem:
    if service.database is None:
        return not_checked("database-role", "No database is declared.")
    live = live_database(service, config_folder)
    if not isinstance(live, PostgreSQL):
        return not_checked("database-role", f"Only PostgreSQL is asked for rights, and this is {type(live).__name__}.")
    rights = rights_of(live, service.database.role)
    if rights is None:
        return not_checked("database-role", f"There is no role {service.database.role!r}.")
    return role_item(rights)


def _secrets(folder: Path) -> AuditItem:
    found = configuration_files(folder)
    problems = [
        f"{file.path}:{line}: {what}"
        for file in found.files
        for line, what in literal_secrets(file.text, code=file.code)
    ]
    fine = f"No secret stands in {len(found.files)} configuration files."
    item = checked("configuration-secrets", fine, "Secrets stand in the configuration.", problems, SECRETS_MEND)
    if problems or (found.files and not found.left_out):
        return item
    reason = "Not every configuration file was read." if found.files else "There is no configuration file."
    return not_checked(item.code, reason, found.left_out)


def _logging(service: Service, config_folder: Path) -> AuditItem:
    if service.log is None:
        return not_checked("logging", "No log file is declared: `log` in slipway.toml.")
    path = config_folder / service.log
    try:
        before = path.stat().st_size
        unknown_page(service)
        grew = _grows(path, before)
    except OSError as error:
        return not_checked("logging", f"The log {service.log} cannot be looked at here: {type(error).__name__}.")
    problems = [] if grew else [f"{service.log} did not grow within {LOG_WITHIN_S:g} s of a request"]
    return checked("logging", f"{service.log} grew with a request.", "Requests are not logged.", problems, LOG_MEND)


def _grows(path: Path, before: int) -> bool:
    """Whether the file is soon of another size (smaller, where it was rotated)."""
    deadline = time.monotonic() + LOG_WITHIN_S
    while path.stat().st_size == before:
        if time.monotonic() > deadline:
            return False
        cancellation.check()
        time.sleep(0.05)
    return True
