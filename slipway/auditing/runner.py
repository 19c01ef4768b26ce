"""Audit one live service with the checklist. The audit reads, and posts only to an upload route that the entry declares."""

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
from slipway.measurement.pages import get, post, service_client

LOG_WITHIN_S = 5.0
SIZE_NOT_CHECKED = {401, 403, 404, 405}  # the service answered before it checked the size
UPLOAD_FIX = "Refuse larger bodies with 413 (RFC 9110, section 15.5.14), by Content-Length and while reading."
SECRETS_FIX = "Remove the secret, change it, and read it from the environment. It stays in the repository's history."
LOG_FIX = "Enable the service's request log, and make sure that the service can write to the file."


def audit_service(service: Service, config_folder: Path) -> Audit:
    """Return the checklist with every item. The entry's paths are relative to `config_folder`.

    An item that cannot be checked states the reason. Raises SlipwayError if the service does not answer.
    """
    unknown = unknown_page(service)
    items = [
        *_page_items(service, unknown),
        _run_check("leak-probe", lambda: _leak_probe(service)),
        _run_check("upload-limit", lambda: _upload_limit(service)),
        _run_check("database-role", lambda: _database_role(service, config_folder)),
        _run_check("configuration-secrets", lambda: _secrets((config_folder / service.directory).resolve())),
        _run_check("logging", lambda: _logging(service, config_folder)),
    ]
    return Audit(service=service.name, items=tuple(items))


def _run_check(code: AuditCode, check: Callable[[], AuditItem]) -> AuditItem:
    try:
        return check()
    except SlipwayError as error:
        return not_checked(code, error.failed)


def _page_items(service: Service, unknown: Observation) -> list[AuditItem]:
    url = resolve(service.url).rstrip("/")
    https = url.startswith("https:")
    pages, sign_ins = read_pages(service)
    read = [observation for observation in pages.observations if observation.status < 500]
    lint_findings = [(page.place, finding) for page in read for finding in lint(page, url + page.target)]
    errors = [observation for observation in (*pages.observations, *sign_ins, unknown) if observation.status >= 400]
    items = [
        *caching_items(PagesRead(observations=tuple(read)), lint_findings),
        *security_headers(read, https=https),
        *cookie_flags([*read, *sign_ins], https=https),
    ]
    items = [unless_unread(item, pages) for item in items]
    if not service.identities:
        no_identity = not_checked("personal-pages", "No identity is declared, so no page is known to be personal.")
        items = [no_identity if item.code == no_identity.code else item for item in items]
    return [*items, _error_page(unknown, errors)]


def _error_page(unknown: Observation, errors: list[Observation]) -> AuditItem:
    item = error_page_item(errors)
    if unknown.status < 400 and item.result == "pass":
        return not_checked(
            item.code, f"The service answered an unknown URL with {unknown.status}, not with an error page."
        )
    return item


def _leak_probe(service: Service) -> AuditItem:
    if not service.identities:
        return not_checked("leak-probe", "No identity is declared, so there is no personal page to probe.")
    if not routes_to_read(service):
        return not_checked("leak-probe", "The entry names no route without a wildcard.")
    turns, unread = probe_in_turn(service)
    item = leak_item(turns, pairs=len(service.identities) > 1)
    return unless_unread(item, PagesRead(observations=(), unread=tuple(unread)))


def _upload_limit(service: Service) -> AuditItem:
    upload = service.upload
    if upload is None:
        return not_checked("upload-limit", "No upload is declared: [service.upload] in slipway.toml.")
    with service_client(service, service.identity(upload.identity)) as client:
        before = get(client, upload.unchanged, service.name).text if upload.unchanged else ""
        status = post(client, upload.route, service.name, b"x" * (upload.limit_bytes + 1)).status_code
        after = get(client, upload.unchanged, service.name).text if upload.unchanged else ""
    if status in SIZE_NOT_CHECKED:
        return not_checked("upload-limit", f"POST {upload.route} answered {status} before it checked the size.")
    problems = _upload_problems(upload, status, same=before == after)
    pass_summary = f"A body of {upload.limit_bytes + 1:,} bytes was refused with 413" + (
        f", and {upload.unchanged} is unchanged." if upload.unchanged else "."
    )
    return checked("upload-limit", pass_summary, "A body over the limit is not refused.", problems, UPLOAD_FIX)


def _upload_problems(upload: Upload, status: int, *, same: bool) -> list[str]:
    size = f"{upload.limit_bytes + 1:,} bytes"
    problems = [] if status == 413 else [f"POST {upload.route} answered {size} with {status}, not 413"]
    return problems if same else [*problems, f"{upload.unchanged} changed after a body of {size}"]


def _database_role(service: Service, config_folder: Path) -> AuditItem:
    if service.database is None:
        return not_checked("database-role", "No database is declared.")
    database = live_database(service, config_folder)
    if not isinstance(database, PostgreSQL):
        return not_checked("database-role", f"The check supports only PostgreSQL, not {type(database).__name__}.")
    rights = rights_of(database, service.database.role)
    if rights is None:
        return not_checked("database-role", f"There is no role {service.database.role!r}.")
    return role_item(rights)


def _secrets(folder: Path) -> AuditItem:
    configuration = configuration_files(folder)
    problems = [
        f"{file.path}:{line}: {kind}"
        for file in configuration.files
        for line, kind in literal_secrets(file.text, code=file.code)
    ]
    pass_summary = f"{len(configuration.files)} configuration files contain no secret."
    item = checked("configuration-secrets", pass_summary, "The configuration contains secrets.", problems, SECRETS_FIX)
    if problems or (configuration.files and not configuration.left_out):
        return item
    reason = "Some configuration files were not read." if configuration.files else "There is no configuration file."
    return not_checked(item.code, reason, configuration.left_out)


def _logging(service: Service, config_folder: Path) -> AuditItem:
    if service.log is None:
        return not_checked("logging", "No log file is declared: `log` in slipway.toml.")
    path = config_folder / service.log
    try:
        before = path.stat().st_size
        unknown_page(service)
        grew = _grows(path, before)
    except OSError as error:
        return not_checked("logging", f"Could not read the log {service.log} on this machine: {type(error).__name__}.")
    problems = [] if grew else [f"{service.log} did not grow within {LOG_WITHIN_S:g} s of a request"]
    return checked("logging", f"{service.log} grew with a request.", "Requests are not logged.", problems, LOG_FIX)


def _grows(path: Path, before: int) -> bool:
    """Return whether the size of the file changes within 5 s. A rotated file becomes smaller."""
    deadline = time.monotonic() + LOG_WITHIN_S
    while path.stat().st_size == before:
        if time.monotonic() > deadline:
            return False
        cancellation.check()
        time.sleep(0.05)
    return True
