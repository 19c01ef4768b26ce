"""Load slipway.toml: services, their sections, and references to environment variables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.config.service import Service, load_service, load_services
from slipway.core.errors import InvalidInput
from slipway.core.settings import EnvironmentReference, PrefectSecret, Settings, is_set, resolve

ENTRY = """\
[[service]]
name = "shop"
url = "http://127.0.0.1:8000"
routes = ["/", "/products/*"]
"""
MIGRATIONS = """
[service.database]
url = { env = "SHOP_DATABASE_URL" }
[service.migrations]
"""
IDENTITY = """
[[service.identities]]
name = "customer"
sign_in = { path = "/sign-in", form = { password = { env = "SHOP_PASSWORD" } } }
marker = "Signed in as Alice"
marker_route = "/account"
"""
COMMANDS = 'commands = { upgrade = ["./up", "{to}"], downgrade = ["./down"], current = ["./at"], sql = ["./sql"] }\n'


def write(folder: Path, text: str) -> Path:
    """Write a slipway.toml into a folder."""
    path = folder / "slipway.toml"
    path.write_text(text)
    return path


def shop(folder: Path, text: str) -> Service:
    """Return the service of a file that has one."""
    return load_service(write(folder, text), "shop")


def refusal(path: Path, name: str = "shop") -> tuple[str, str]:
    """Return `failed` and `expected` of the error for a file or service that cannot be loaded."""
    with pytest.raises(InvalidInput) as refused:
        load_service(path, name)
    return refused.value.failed, refused.value.expected


def test_unknown_service_lists_the_existing_services(tmp_path: Path) -> None:
    """The error for an unknown service lists the existing services."""
    path = write(tmp_path, ENTRY + ENTRY.replace('"shop"', '"mail"'))
    assert list(load_services(path)) == ["shop", "mail"]
    assert refusal(path, "shoop") == ("There is no service 'shoop'.", "One of: mail, shop.")


def test_staging_service_is_the_named_entry(tmp_path: Path) -> None:
    """The staging service is the entry that the service names; a service without `staging` has none."""
    staging = ENTRY.replace('"shop"', '"shop-staging"')
    path = write(tmp_path, ENTRY + '[service.staging]\nservice = "shop-staging"\n' + staging)
    assert load_service(path, "shop", on_staging=True).name == "shop-staging"
    with pytest.raises(InvalidInput) as refused:
        load_service(path, "shop-staging", on_staging=True)
    assert refused.value.failed == "Service shop-staging has no staging service."


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The error for a missing file names its path."""
    path = tmp_path / "slipway.toml"
    assert refusal(path) == (f"There is no file {path}.", "A TOML file at this path.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(ENTRY + ENTRY, "file: service: names must be unique", id="one name twice"),
        pytest.param(ENTRY + 'colour = "red"\n', "service.0.colour: unknown key", id="unknown key"),
        pytest.param(
            ENTRY + IDENTITY + IDENTITY,
            "service.0: identities: names must be unique, and must not be 'anonymous'",
            id="one identity twice",
        ),
        pytest.param(
            ENTRY + IDENTITY.replace('"customer"', '"anonymous"'),
            "service.0: identities: names must be unique, and must not be 'anonymous'",
            id="an identity called anonymous",
        ),
        pytest.param(
            ENTRY + MIGRATIONS,
            "service.0.migrations: set exactly one of preset and commands",
            id="neither preset nor commands",
        ),
        pytest.param(
            ENTRY + MIGRATIONS + 'preset = "alembic"\n' + COMMANDS,
            "service.0.migrations: set exactly one of preset and commands",
            id="preset and commands",
        ),
        pytest.param(
            ENTRY + MIGRATIONS + COMMANDS.replace("{to}", "{name}"),
            'service.0.migrations.commands: {app} and {name} are allowed only with prints = "checklist"',
            id="halves of a revision that has none",
        ),
        pytest.param(
            ENTRY + MIGRATIONS + COMMANDS.replace(" }", ', prints = "table" }'),
            "service.0.migrations.commands.prints: input should be 'revision' or 'checklist'",
            id="an unknown form",
        ),
        pytest.param(
            ENTRY + '[service.migrations]\npreset = "alembic"\n',
            "service.0: migrations require a database",
            id="migrations without a database",
        ),
        pytest.param(ENTRY.replace('["/", "/products/*"]', "[]"), "service.0.routes: tuple should", id="no route"),
        pytest.param(
            ENTRY + '[service.staging]\nservice = "shop-staging"\n',
            "file: shop: staging must be another service in this file, and that service must have no staging",
            id="a staging that is not there",
        ),
        pytest.param(
            ENTRY + '[service.staging]\nservice = "shop"\n',
            "file: shop: staging must be another service in this file, and that service must have no staging",
            id="its own staging",
        ),
        pytest.param(
            ENTRY
            + '[service.staging]\nservice = "beta"\n'
            + ENTRY.replace('"shop"', '"beta"')
            + '[service.staging]\nservice = "alpha"\n'
            + ENTRY.replace('"shop"', '"alpha"'),
            "file: shop: staging must be another service in this file, and that service must have no staging",
            id="a staging with a staging",
        ),
        pytest.param(
            ENTRY + '[service.staging]\nservice = "shop-staging"\nwithin_h = 0\n',
            "service.0.staging.within_h: input should be greater than 0",
            id="a proof that never counts",
        ),
    ],
)
def test_error_names_the_place_and_the_reason(tmp_path: Path, text: str, message: str) -> None:
    """The error of an invalid file names the file, the key, and the reason."""
    path = write(tmp_path, text)
    failed, expected = refusal(path)
    assert failed.startswith(f"{path}: {message}")
    assert expected == "Only known keys, each with a valid value."


def test_secret_in_the_file_is_refused_without_being_shown(tmp_path: Path) -> None:
    """A database URL in the file instead of a reference is an error, and the message does not contain the URL."""
    path = write(tmp_path, ENTRY + '[service.database]\nurl = "postgresql://shop:hunter2@db/shop"\n')
    failed, _ = refusal(path)
    assert failed.startswith(f"{path}: service.0.database.url: input should be")
    assert "hunter2" not in failed


def test_preset_or_custom_commands_are_used(tmp_path: Path) -> None:
    """A preset gives the commands of Alembic or Django; custom commands are used unchanged."""
    preset = shop(tmp_path, ENTRY + MIGRATIONS + 'preset = "alembic"\n').migrations
    assert preset is not None
    assert preset.argv.upgrade == ("alembic", "upgrade", "{to}")
    assert preset.argv.sql == ("alembic", "upgrade", "{from}:{to}", "--sql")
    commands = shop(tmp_path, ENTRY + MIGRATIONS + COMMANDS).migrations
    assert commands is not None
    assert commands.argv.upgrade == ("./up", "{to}")
    assert (preset.argv.prints, commands.argv.prints) == ("revision", "revision")
    django = shop(tmp_path, ENTRY + MIGRATIONS + 'preset = "django"\n').migrations
    assert django is not None and django.argv.prints == "checklist"
    assert django.argv.upgrade == ("python", "manage.py", "migrate", "{app}", "{name}", "--no-input")


@pytest.mark.parametrize(
    ("route", "matches"),
    [
        ("/", True),
        ("/?utm_source=mail", True),
        ("/products/1", True),
        ("/products/1?q=/admin", True),
        ("/products/", True),
        ("/products/1/reviews", True),
        ("/products", False),
        ("/Products/1", False),
        ("/admin", False),
        ("/admin?x=/products/1", False),
        ("/products/../admin", False),
        ("/products/%2E%2e/admin", False),
        ("/products/..", False),
        ("/products/./1", False),
        ("/products/..data", True),
    ],
)
def test_has_route_matches_the_patterns(tmp_path: Path, route: str, matches: bool) -> None:
    """A star matches anything, the query is ignored, and a route with dot segments never matches."""
    assert shop(tmp_path, ENTRY).has_route(route) is matches


def test_identities_are_found_by_name(tmp_path: Path) -> None:
    """`anonymous` returns None, a configured name its identity, and an unknown name raises an error with the known names."""
    service = shop(tmp_path, ENTRY + IDENTITY)
    assert service.identity("anonymous") is None
    customer = service.identity("customer")
    assert customer is not None and customer.marker_route == "/account"
    with pytest.raises(InvalidInput) as refused:
        service.identity("admin")
    assert refused.value.failed == "Service shop has no identity admin."
    assert refused.value.expected == "One of: anonymous, customer."


@pytest.mark.parametrize("environment", [{}, {"SHOP_TOKEN": ""}])
def test_missing_variable_is_named(environment: dict[str, str]) -> None:
    """The error for a reference to an unset or empty variable names the variable."""
    with pytest.raises(InvalidInput) as refused:
        resolve(EnvironmentReference(env="SHOP_TOKEN"), {**environment, "SHOP_TOKEN_2": "s3cret"})
    assert str(refused.value) == (
        "The environment variable SHOP_TOKEN is not set. "
        "Expected: SHOP_TOKEN is set where the job runs, because slipway.toml refers to it. A retry is safe."
    )


def test_reference_is_resolved_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain value resolves to itself; a reference resolves to the current value of its variable."""
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    assert resolve("varnish") == "varnish"
    assert resolve(EnvironmentReference(env="SHOP_TOKEN")) == "s3cret"


def test_serialised_service_has_references_instead_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A serialised service contains the names of the variables, never a secret."""
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    document: dict[str, Any] = shop(tmp_path, ENTRY + IDENTITY).model_dump(mode="json")
    assert document["identities"][0]["sign_in"]["form"] == {"password": {"env": "SHOP_PASSWORD"}}


def test_settings_come_from_the_environment() -> None:
    """Every setting has its variable; an unset or empty variable leaves the default."""
    settings = Settings.from_environment({"SLIPWAY_CHANGES": "/srv/changes", "SLIPWAY_ADMIN_URL": "", "OTHER": "x"})
    assert settings == Settings(changes=Path("/srv/changes"))
    assert (settings.config, settings.admin_url) == (Path("slipway.toml"), "")


def test_only_runs_can_read_prefect_secrets() -> None:
    """Outside a run a Prefect Secret counts as not set, and the error names it."""
    reference = PrefectSecret(secret="shop-token")
    assert not is_set(reference)
    code = "from slipway.core.settings import PrefectSecret, resolve; resolve(PrefectSecret(secret='shop-token'))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Only a run can read the Prefect Secret shop-token." in result.stderr


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (
            'kind = "apache"\nurl = "http://c"',
            "'apache' is not a kind of cache; use one of: akamai, bunny, cloudflare, cloudfront, fastly,",
        ),
        ('kind = "squid"', "a cache of kind squid needs url"),
        ('kind = "varnish"\nurl = "http://c"\nzone = "abc"', "a cache of kind varnish does not have zone"),
        ('kind = "fastly"', "a cache of kind fastly needs zone"),
        ('kind = "bunny"\nzone = "7/../9"', "string should match pattern"),
        ('kind = "bunny"\nzone = "7"\ntoken_header = "X-Mine"', "a cache of kind bunny does not have token_header"),
        ('kind = "cloudfront"\nzone = "E1"', "a cache of kind cloudfront needs credentials.access_key_id"),
        ('kind = "akamai"\nurl = "http://c"\ncredentials = { key = { env = "K" } }', "credentials.access_token, "),
        ('kind = "bunny"\nzone = "7"\ncredentials = { key = { env = "K" } }', "bunny does not have credentials.key"),
        ('kind = "bunny"\nzone = "7"\nzones = "7"', "cache.zones: unknown key"),
    ],
)
def test_cache_must_have_exactly_the_keys_of_its_kind(tmp_path: Path, cache: str, message: str) -> None:
    """A missing key and a key that the kind of cache does not have are errors."""
    failed, _ = refusal(write(tmp_path, f'{ENTRY}[service.cache]\ntoken = {{ env = "T" }}\n{cache}\n'))
    assert message in failed


def test_token_of_a_cache_must_be_a_reference(tmp_path: Path) -> None:
    """A token in the file is refused, and the message does not contain the token."""
    failed, _ = refusal(
        write(tmp_path, f'{ENTRY}[service.cache]\nkind = "bunny"\nzone = "7"\ntoken = "written-secret"\n')
    )
    assert "cache.token" in failed
    assert "written-secret" not in failed


UPLOAD = '[service.upload]\nroute = "/upload"\nlimit_bytes = 1_000\n'


def test_upload_and_log_are_optional(tmp_path: Path) -> None:
    """A service may have an upload route and a log for its audit."""
    entry = shop(tmp_path, ENTRY + 'log = "logs/access.log"\n' + UPLOAD)
    assert entry.upload is not None and entry.upload.limit_bytes == 1_000 and entry.log == Path("logs/access.log")
    assert shop(tmp_path, ENTRY).upload is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1_000", "0", "service.0.upload.limit_bytes"),
        ("1_000", "1_000_000_000", "service.0.upload.limit_bytes"),
        ('"/upload"', '"https://evil.example/"', "service.0.upload.route"),
        ("limit_bytes", "limit", "service.0.upload.limit"),
        (
            "limit_bytes",
            'identity = "bob"\nlimit_bytes',
            "upload: the identity must be one of the service's identities",
        ),
    ],
)
def test_invalid_upload_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Invalid uploads: a limit of 0, a limit that is too large, another host, an unknown key, an unknown identity."""
    failed, _ = refusal(write(tmp_path, ENTRY + UPLOAD.replace(old, new)))
    assert message in failed
