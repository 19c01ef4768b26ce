"""`slipway access`: manage accounts, one-time links, tokens and the access log directly in the store.

Anyone who has SLIPWAY_DATABASE_URL is the owner. The owner creates the first admin and replaces lost passwords.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Annotated, cast

import typer

from slipway.accounts.accounts import Accounts
from slipway.accounts.failed_sign_ins import SignInThrottle
from slipway.accounts.grants import Grant, Role
from slipway.accounts.links import Links
from slipway.accounts.log import AccessLog
from slipway.accounts.tokens import Tokens
from slipway.client.http import STORE_FILE, admin_url, running_stacks
from slipway.core.errors import InvalidInput
from slipway.core.settings import Settings
from slipway.core.toml_files import parse
from slipway.runs.store import Store

app = typer.Typer(no_args_is_help=True, help=__doc__)
OWNER = "the owner of the database"
Name = Annotated[str, typer.Argument(help="lower-case letters, digits and . _ @ + -")]
RoleOption = Annotated[str, typer.Option("--role", help="viewer, operator, approver or admin")]
ServiceOption = Annotated[list[str] | None, typer.Option("--service", help="only for this service; can be repeated")]


@app.command()
def link(
    name: Name,
    role: Annotated[str | None, typer.Option(help="for a new account: viewer, operator, approver or admin")] = None,
    service: ServiceOption = None,
    hours: Annotated[int, typer.Option(min=1, max=168, help="hours until the link expires")] = 24,
) -> None:
    """Print a one-time link with which NAME chooses a password. With --role, create the account first."""
    with _store() as store:
        if role is not None:
            Accounts(store).add(name, _grant(role, service), by=OWNER)
            _log_action(store, "invite person", name)
        elif Accounts(store).find(name).disabled_at is not None:
            raise InvalidInput(
                f"The account {name!r} is disabled.", expected="An enabled account. Run `slipway access enable` first."
            )
        typer.echo(make_link(store, name, admin_base_url(), hours=hours))


@app.command()
def people() -> None:
    """List all accounts with their roles and states."""
    with _store() as store:
        for account in Accounts(store).all():
            state = "disabled" if account.disabled_at else "can sign in" if account.has_password else "invited"
            typer.echo(f"{account.name:30}  {account.grant.description:40}  {state}")


@app.command()
def change(name: Name, role: RoleOption, service: ServiceOption = None) -> None:
    """Change the role of an account. If this removes rights, its sessions end and its tokens are revoked."""
    with _store() as store:
        Accounts(store).change(name, _grant(role, service))
        _log_action(store, "change account", name)


@app.command()
def disable(name: Name) -> None:
    """Disable an account. Its sessions end and its tokens are revoked."""
    with _store() as store:
        Accounts(store).disable(name)
        _log_action(store, "disable account", name)


@app.command()
def enable(name: Name) -> None:
    """Enable a disabled account."""
    with _store() as store:
        Accounts(store).enable(name)
        _log_action(store, "enable account", name)


@app.command()
def token(
    name: Name,
    role: RoleOption,
    service: ServiceOption = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="days until the token expires")] = 90,
) -> None:
    """Create a token for a program and print it once."""
    with _store() as store:
        key, _ = Tokens(store).make(name, _grant(role, service), timedelta(days=days), account=None)
        _log_action(store, "make token", name)
        typer.echo(key)


@app.command()
def tokens() -> None:
    """List all tokens with role, expiry date and last use."""
    with _store() as store:
        for entry in Tokens(store).all():
            end = "revoked" if entry.revoked_at else f"until {entry.expires_at:%Y-%m-%d}"
            used = f"used {entry.last_used_at:%Y-%m-%d %H:%M}" if entry.last_used_at else "never used"
            typer.echo(f"{entry.name:30}  {entry.grant.description:40}  {end:20}  {used:22}  {entry.account or OWNER}")


@app.command()
def revoke(name: Name) -> None:
    """Revoke a token."""
    with _store() as store:
        Tokens(store).revoke(name)
        _log_action(store, "revoke token", name)


@app.command()
def log(limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50) -> None:
    """Print the newest entries of the access log."""
    with _store() as store:
        for entry in AccessLog(store).newest(limit):
            typer.echo(
                f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.who} ({entry.how}, {entry.address})  {entry.what}  {entry.on}  "
                f"{entry.outcome}"
            )


def first_link(store: Store, url: str) -> str | None:
    """Return a one-time link for the account `admin` if nobody can sign in yet, else None. Create the account if needed."""
    accounts = Accounts(store)
    if accounts.anyone_can_sign_in():
        return None
    if not any(account.name == "admin" for account in accounts.all()):
        accounts.add("admin", Grant(role="admin"), by=OWNER)
        _log_action(store, "invite person", "admin")
    return make_link(store, "admin", url)


def make_link(store: Store, name: str, url: str, *, hours: int = 24) -> str:
    """Create a one-time link for an account and reset its count of failed sign-ins."""
    SignInThrottle(store).reset(name)
    key = Links(store).make(name, timedelta(hours=hours))
    _log_action(store, "make one-time link", name)
    return f"{url}/pages/link/{key}"


def admin_base_url() -> str:
    """Return the URL of the admin service; empty if it is unknown here."""
    try:
        return admin_url(Settings.from_environment()).rstrip("/")
    except InvalidInput:
        return ""  # prints only the path; the owner knows the host


def _grant(role: str, services: list[str] | None) -> Grant:
    return parse(Grant, {"role": cast("Role", role), "services": services or None}, where="the grant")


def _log_action(store: Store, what: str, on: str) -> None:
    how = f"command line ({getpass.getuser()})"
    AccessLog(store).add(who=OWNER, how=how, address=socket.gethostname(), what=what, on=on, outcome="done")


@contextmanager
def _store() -> Iterator[Store]:
    with closing(Store(database_url(Settings.from_environment()))) as store:
        store.create_tables()
        yield store


def database_url(settings: Settings) -> str:
    """Return SLIPWAY_DATABASE_URL, or the URL of the embedded stack that runs in this folder; empty without either."""
    files = [home / STORE_FILE for home in running_stacks(settings) if (home / STORE_FILE).is_file()]
    return settings.database_url or (files[0].read_text(encoding="utf-8").strip() if files else "")
