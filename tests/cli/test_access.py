"""`slipway access` with a real store: the first admin, links, tokens, and errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slipway.accounts.accounts import Accounts
from slipway.accounts.grants import Grant
from slipway.accounts.log import AccessLog
from slipway.accounts.tokens import Tokens
from slipway.cli.access import database_url, first_link
from slipway.cli.main import main
from slipway.client.http import AdminClient, token_for
from slipway.core.settings import Settings
from slipway.deployments.tokens import own_token, write_private
from slipway.runs.store import Store

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of the command for an empty database. The command creates the tables."""
    monkeypatch.delenv("SLIPWAY_ADMIN_URL", raising=False)
    for name, value in {"SLIPWAY_DATABASE_URL": database, "SLIPWAY_HOME": str(tmp_path), "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def access(environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command in this process, because starting a process takes longer."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["slipway", "access", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        output = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(exit_info.value.code or 0), output.out, output.err)

    return run


def test_the_installed_command_prints_errors_without_a_traceback(environment: None) -> None:
    """An error is exit code 1 and three lines."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "slipway"), "access", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    link = run("link", "ada", "--role", "admin")
    assert link.returncode == 0 and link.stdout.startswith("/pages/link/"), link.stderr
    refused = run("disable", "nobody")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert [line.partition(":")[0] for line in refused.stderr.splitlines()] == ["failed", "expected", "retry is safe"]


def test_the_owner_manages_accounts_and_tokens(access: Command, database: str) -> None:
    """The owner creates the first admin and a token, lists both and revokes the token. The log has no secret."""
    link = access("link", "ada", "--role", "admin")
    assert link.returncode == 0 and link.stdout.startswith("/pages/link/"), link.stderr
    token = access("token", "robot", "--role", "operator", "--service", "shop", "--days", "30")
    assert token.stdout.startswith("slipway_")
    assert "admin of all services" in access("people").stdout
    assert "operator of shop" in (listed := access("tokens").stdout) and "never used" in listed
    with closing(Store(database)) as store:
        saved = Tokens(store).find(token.stdout.strip())
        assert saved is not None and saved.account is None and saved.grant == Grant(role="operator", services=("shop",))
        assert access("revoke", "robot").returncode == 0
        assert Tokens(store).find(token.stdout.strip()) is None
        entries = [(entry.who, entry.what, entry.on) for entry in AccessLog(store).newest(10)]
    owner = "the owner of the database"
    assert entries == [
        (owner, "revoke token", "robot"),
        (owner, "make token", "robot"),
        (owner, "make one-time link", "ada"),
        (owner, "invite person", "ada"),
    ]
    log = access("log").stdout
    assert "revoke token" in log and link.stdout.strip().rpartition("/")[2] not in log


@pytest.mark.parametrize(
    ("arguments", "failed"),
    [
        (("link", "nobody"), "The account 'nobody' does not exist."),
        (("link", "<b>", "--role", "admin"), "'<b>' is not a valid name."),
        (("link", "ada", "--role", "king"), "the grant: role:"),
        (("token", "robot", "--role", "viewer", "--service", "../x"), "the grant: services.0:"),
        (("revoke", "nothing"), "There is no token 'nothing' to revoke."),
        (("disable", "nobody"), "The account 'nobody' does not exist."),
    ],
)
def test_invalid_arguments_are_refused(access: Command, arguments: tuple[str, ...], failed: str) -> None:
    """The command exits with 1 and prints what failed."""
    completed = access(*arguments)
    assert completed.returncode == 1 and completed.stderr.startswith(f"failed:   {failed}"), completed.stderr


def test_the_first_link_exists_only_until_a_password_is_set(database: str) -> None:
    """While no account has a password, each call returns a new link for the account admin, which has no default password."""
    with closing(Store(database)) as store:
        store.create_tables()
        accounts = Accounts(store)
        first, second = first_link(store, "http://x"), first_link(store, "http://x")
        assert first is not None and second is not None and first != second
        assert [(account.name, account.grant.role, account.has_password) for account in accounts.all()] == [
            ("admin", "admin", False)
        ]
        accounts.set_password("admin", "a hash")
        assert first_link(store, "http://x") is None


def test_the_database_url_of_a_running_stack_is_used(tmp_path: Path) -> None:
    """While `make up` runs, the owner needs no URL. SLIPWAY_DATABASE_URL takes precedence."""
    home = tmp_path / "up"
    home.mkdir()
    assert database_url(Settings(home=tmp_path)) == ""
    write_private(home / "store", "postgresql://here")
    assert database_url(Settings(home=tmp_path)) == ""  # the stack does not run
    (home / "stack.json").write_text('{"admin": "http://127.0.0.1:8400"}')
    assert database_url(Settings(home=tmp_path)) == "postgresql://here"
    assert database_url(Settings(home=tmp_path, database_url="postgresql://given")) == "postgresql://given"


def test_a_stack_keeps_one_private_token(database: str, tmp_path: Path) -> None:
    """Only the user can read the file. The token is reused while it is valid, and is sent only to its own stack."""
    file = tmp_path / "token"
    with closing(Store(database)) as store:
        store.create_tables()
        token = own_token(store, file)
        assert file.stat().st_mode & 0o777 == 0o600 and file.read_text() == token
        assert own_token(store, file) == token
        [saved] = Tokens(store).all()
        Tokens(store).revoke(saved.name)
        assert own_token(store, file) != token
    (tmp_path / "stack.json").write_text('{"admin": "http://127.0.0.1:8400"}')
    settings = Settings(home=tmp_path)
    assert token_for(settings, "http://127.0.0.1:8400") == file.read_text()
    assert token_for(settings, "https://elsewhere.example") == ""
    assert token_for(Settings(home=tmp_path, token="given"), "https://elsewhere.example") == "given"
    assert "given" not in repr(Settings(token="given"))
    with AdminClient("http://127.0.0.1:9", "given") as client:
        assert client._client.headers["authorization"] == "Bearer given"
