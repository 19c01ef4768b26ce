"""`slipway access` on a real store: the first admin, links, tokens, and what an error looks like."""

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
    """The settings of the command, over an empty database, where it makes its tables itself."""
    monkeypatch.delenv("SLIPWAY_ADMIN_URL", raising=False)
    for name, value in {"SLIPWAY_DATABASE_URL": database, "SLIPWAY_HOME": str(tmp_path), "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def access(environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: the start of a Python process takes longer than what the command does."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["slipway", "access", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), written.out, written.err)

    return run


def test_the_command_as_a_process(environment: None) -> None:
    """The installed command runs, and an error is its exit code and three lines without a traceback."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "slipway"), "access", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    link = run("link", "ada", "--role", "admin")
    assert link.returncode == 0 and link.stdout.startswith("/pages/link/"), link.stderr
    refused = run("disable", "nobody")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert [line.partition(":")[0] for line in refused.stderr.splitlines()] == ["failed", "expected", "retry is safe"]


def test_the_owner_of_the_database(access: Command, database: str) -> None:
    """They make the first admin and tokens, see both, take them away, and find it all in the log, without a secret."""
    link = access("link", "ada", "--role", "admin")
    assert link.returncode == 0 and link.stdout.startswith("/pages/link/"), link.stderr
    token = access("token", "robot", "--role", "operator", "--service", "shop", "--days", "30")
    assert token.stdout.startswith("slipway_")
    assert "admin of all services" in access("people").stdout
    assert "operator of shop" in (listed := access("tokens").stdout) and "never used" in listed
    with closing(Store(database)) as store:
        found = Tokens(store).find(token.stdout.strip())
        assert found is not None and found.account is None and found.grant == Grant(role="operator", services=("shop",))
        assert access("revoke", "robot").returncode == 0
        assert Tokens(store).find(token.stdout.strip()) is None
        told = [(entry.who, entry.what, entry.on) for entry in AccessLog(store).newest(10)]
    owner = "the owner of the database"
    assert told == [
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
        (("link", "nobody"), "There is no account 'nobody'."),
        (("link", "<b>", "--role", "admin"), "'<b>' cannot be a name."),
        (("link", "ada", "--role", "king"), "the grant: role:"),
        (("token", "robot", "--role", "viewer", "--service", "../x"), "the grant: services.0:"),
        (("revoke", "nothing"), "There is no token 'nothing' to revoke."),
        (("disable", "nobody"), "There is no account 'nobody'."),
    ],
)
def test_what_cannot_be_done(access: Command, arguments: tuple[str, ...], failed: str) -> None:
    """It is three plain lines and exit code 1."""
    ran = access(*arguments)
    assert ran.returncode == 1 and ran.stderr.startswith(f"failed:   {failed}"), ran.stderr


def test_the_first_start(database: str) -> None:
    """As long as nobody has a password the account admin has a link; never afterwards, and never a default password."""
    with closing(Store(database)) as store:
        store.create_tables()
        accounts = Accounts(store)
        first, second = first_link(store, "http://x"), first_link(store, "http://x")
        assert first is not None and second is not None and first != second
        assert [(found.name, found.grant.role, found.has_password) for found in accounts.all()] == [
            ("admin", "admin", False)
        ]
        accounts.set_password("admin", "a hash")
        assert first_link(store, "http://x") is None


def test_the_database_of_the_stack_that_runs_here(tmp_path: Path) -> None:
    """Beside `make up` the owner needs no URL; one that is given goes before."""
    home = tmp_path / "up"
    home.mkdir()
    assert database_url(Settings(home=tmp_path)) == ""
    write_private(home / "store", "postgresql://here")
    assert database_url(Settings(home=tmp_path)) == ""  # it does not run
    (home / "stack.json").write_text('{"admin": "http://127.0.0.1:8400"}')
    assert database_url(Settings(home=tmp_path)) == "postgresql://here"
    assert database_url(Settings(home=tmp_path, database_url="postgresql://given")) == "postgresql://given"


def test_the_stacks_own_token(database: str, tmp_path: Path) -> None:
    """Only its user can read it; it stays as long as it is good, and the command shows it to that very stack alone."""
    file = tmp_path / "token"
    with closing(Store(database)) as store:
        store.create_tables()
        token = own_token(store, file)
        assert file.stat().st_mode & 0o777 == 0o600 and file.read_text() == token
        assert own_token(store, file) == token
        [found] = Tokens(store).all()
        Tokens(store).revoke(found.name)
        assert own_token(store, file) != token
    (tmp_path / "stack.json").write_text('{"admin": "http://127.0.0.1:8400"}')
    settings = Settings(home=tmp_path)
    assert token_for(settings, "http://127.0.0.1:8400") == file.read_text()
    assert token_for(settings, "https://elsewhere.example") == ""
    assert token_for(Settings(home=tmp_path, token="given"), "https://elsewhere.example") == "given"
    assert "given" not in repr(Settings(token="given"))
    with AdminClient("http://127.0.0.1:9", "given") as client:
        assert client._client.headers["authorization"] == "Bearer given"
