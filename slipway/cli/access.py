"""`slipway access`: accounts, one-time links, tokens and the log, on the store itself.

Whoever has SLIPWAY_DATABASE_URL is the owner: this is how the first admin comes, and how a lost password is mended.
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
ServiceOption = Annotated[
    list[str] | None, typer.Option("--service", help="only for this service; may be given more than once")
]


@app.command()
def link(
    name: Name,
    role: Annotated[str | None, typer.Option(help="for a new account: viewer, operator, approver or admin")] = None,
    service: ServiceOption = None,
    hours: Annotated[int, typer.Option(min=1, max=168, help="how long the link is good")] = 24,
) -> None:
    """A one-time link with which NAME chooses a password; with --role the account is made first."""
    with _store() as store:
        if role is not None:
            Accounts(store).add(name, _grant(role, service), by=OWNER)
            _note(store, "invite person", name)
        elif Accounts(store).find(name).disabled_at is not None:
            raise InvalidInput(f"The account {name!r} is disabled.", expected="`slipway access enable` first.")
        typer.echo(make_link(store, name, base(), hours=hours))


@app.command()
def people() -> None:
    """Every account with what it may."""
    with _store() as store:
        for account in Accounts(store).all():
            state = "disabled" if account.disabled_at else "can sign in" if account.has_password else "invited"
            typer.echo(f"{account.name:30}  {account.grant.words:40}  {state}")


@app.command()
def change(name: Name, role: RoleOption, service: ServiceOption = None) -> None:
    """Give an account another role. When that takes rights away, its sessions and tokens end."""
    with _store() as store:
        Accounts(store).change(name, _grant(role, service))
        _note(store, "change account", name)


@app.command()
def disable(name: Name) -> None:
    """Let an account sign in no more; its sessions and tokens end."""
    with _store() as store:
        Accounts(store).disable(name)
        _note(store, "disable account", name)


@app.command()
def enable(name: Name) -> None:
    """Let an account sign in again."""
    with _store() as store:
        Accounts(store).enable(name)
        _note(store, "enable account", name)


@app.command()
def token(
    name: Name,
    role: RoleOption,
    service: ServiceOption = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="how long it lasts")] = 90,
) -> None:
    """A token for a machine, shown once."""
    with _store() as store:
        key, _ = Tokens(store).make(name, _grant(role, service), timedelta(days=days), account=None)
        _note(store, "make token", name)
        typer.echo(key)


@app.command()
def tokens() -> None:
    """Every token with what it may, until when, and when it was used last."""
    with _store() as store:
        for each in Tokens(store).all():
            end = "revoked" if each.revoked_at else f"until {each.expires_at:%Y-%m-%d}"
            used = f"used {each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never used"
            typer.echo(f"{each.name:30}  {each.grant.words:40}  {end:20}  {used:22}  {each.account or OWNER}")


@app.command()
def revoke(name: Name) -> None:
    """End a token."""
    with _store() as store:
        Tokens(store).revoke(name)
        _note(store, "revoke token", name)


@app.command()
def log(limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50) -> None:
    """The newest entries of the access log."""
    with _store() as store:
        for entry in AccessLog(store).newest(limit):
            typer.echo(
                f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.who} ({entry.how}, {entry.address})  {entry.what}  {entry.on}  "
                f"{entry.outcome}"
            )


def first_link(store: Store, url: str) -> str | None:
    """As long as nobody can sign in: a one-time link for the account `admin`, which is made where it is missing."""
    accounts = Accounts(store)
    if accounts.somebody_can_sign_in():
        return None
    if not any(account.name == "admin" for account in accounts.all()):
        accounts.add("admin", Grant(role="admin"), by=OWNER)
        _note(store, "invite person", "admin")
    return make_link(store, "admin", url)


def make_link(store: Store, name: str, url: str, *, hours: int = 24) -> str:
    """A one-time link for an account; what it failed before is forgotten."""
    SignInThrottle(store).forget(name)
    key = Links(store).make(name, timedelta(hours=hours))
    _note(store, "make one-time link", name)
    return f"{url}/pages/link/{key}"


def base() -> str:
    """Where the admin service is, as far as it is known here."""
    try:
        return admin_url(Settings.from_environment()).rstrip("/")
    except InvalidInput:
        return ""  # the path alone: whoever passes it on knows the rest


def _grant(role: str, services: list[str] | None) -> Grant:
    return parse(Grant, {"role": cast("Role", role), "services": services or None}, where="the grant")


def _note(store: Store, what: str, on: str) -> None:
    by = f"command line ({getpass.getuser()})"
    AccessLog(store).add(who=OWNER, how=by, address=socket.gethostname(), what=what, on=on, outcome="done")


@contextmanager
def _store() -> Iterator[Store]:
    with closing(Store(database_url(Settings.from_environment()))) as store:
        store.create_tables()
        yield store


def database_url(settings: Settings) -> str:
    """SLIPWAY_DATABASE_URL, or that of the embedded stack which runs in this folder; empty when neither is there."""
    found = [home / STORE_FILE for home in running_stacks(settings) if (home / STORE_FILE).is_file()]
    return settings.database_url or (found[0].read_text(encoding="utf-8").strip() if found else "")
