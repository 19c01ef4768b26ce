"""The entries of slipway.toml: services, what they own, and references into the environment."""

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
    """Put a slipway.toml into a folder."""
    path = folder / "slipway.toml"
    path.write_text(text)
    return path


def shop(folder: Path, text: str) -> Service:
    """The service of a file with one."""
    return load_service(write(folder, text), "shop")


def refusal(path: Path, name: str = "shop") -> tuple[str, str]:
    """What is said of a file or of a service that cannot be loaded."""
    with pytest.raises(InvalidInput) as refused:
        load_service(path, name)
    return refused.value.failed, refused.value.expected


def test_an_unknown_service_lists_the_known(tmp_path: Path) -> None:
    """Who mistypes a service reads the names that there are."""
    path = write(tmp_path, ENTRY + ENTRY.replace('"shop"', '"mail"'))
    assert list(load_services(path)) == ["shop", "mail"]
    assert refusal(path, "shoop") == ("There is no service 'shoop'.", "One of: mail, shop.")


def test_the_staging_of_a_service(tmp_path: Path) -> None:
    """It is the entry that the service names; a service that names none has none."""
    staging = ENTRY.replace('"shop"', '"shop-staging"')
    path = write(tmp_path, ENTRY + '[service.staging]\nservice = "shop-staging"\n' + staging)
    assert load_service(path, "shop", on_staging=True).name == "shop-staging"
    with pytest.raises(InvalidInput) as refused:
        load_service(path, "shop-staging", on_staging=True)
    assert refused.value.failed == "Service shop-staging names no staging service."


def test_a_missing_file(tmp_path: Path) -> None:
    """Without the file its path is told."""
    path = tmp_path / "slipway.toml"
    assert refusal(path) == (f"There is no file {path}.", "A TOML file of that name.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(ENTRY + ENTRY, "file: service: each name once", id="one name twice"),
        pytest.param(ENTRY + 'colour = "red"\n', "service.0.colour: unknown key", id="unknown key"),
        pytest.param(
            ENTRY + IDENTITY + IDENTITY,
            "service.0: identities: each name once, and never 'anonymous'",
            id="one identity twice",
        ),
        pytest.param(
            ENTRY + IDENTITY.replace('"customer"', '"anonymous"'),
            "service.0: identities: each name once, and never 'anonymous'",
            id="an identity called anonymous",
        ),
        pytest.param(
            ENTRY + MIGRATIONS,
            "service.0.migrations: either preset or commands, not both and not neither",
            id="neither preset nor commands",
        ),
        pytest.param(
            ENTRY + MIGRATIONS + 'preset = "alembic"\n' + COMMANDS,
            "service.0.migrations: either preset or commands, not both and not neither",
            id="preset and commands",
        ),
        pytest.param(
            ENTRY + MIGRATIONS + COMMANDS.replace("{to}", "{name}"),
            'service.0.migrations.commands: {app} and {name} are known only with prints = "checklist"',
            id="halves of a revision that has none",
        ),
        pytest.param(
            ENTRY + MIGRATIONS + COMMANDS.replace(" }", ', prints = "table" }'),
            "service.0.migrations.commands.prints: input should be 'revision' or 'checklist'",
            id="an unknown form",
        ),
        pytest.param(
            ENTRY + '[service.migrations]\npreset = "alembic"\n',
            "service.0: migrations need a database",
            id="migrations without a database",
        ),
        pytest.param(ENTRY.replace('["/", "/products/*"]', "[]"), "service.0.routes: tuple should", id="no route"),
        pytest.param(
            ENTRY + '[service.staging]\nservice = "shop-staging"\n',
            "file: shop: its staging must be another service of this file that has none of its own",
            id="a staging that is not there",
        ),
        pytest.param(
            ENTRY + '[service.staging]\nservice = "shop"\n',
            "file: shop: its staging must be another service of this file that has none of its own",
            id="its own staging",
        ),
        pytest.param(
            ENTRY
            + '[service.staging]\nservice = "beta"\n'
            + ENTRY.replace('"shop"', '"beta"')
            + '[service.staging]\nservice = "alpha"\n'
            + ENTRY.replace('"shop"', '"alpha"'),
            "file: shop: its staging must be another service of this file that has none of its own",
            id="a staging with a staging",
        ),
        pytest.param(
            ENTRY + '[service.staging]\nservice = "shop-staging"\nwithin_h = 0\n',
            "service.0.staging.within_h: input should be greater than 0",
            id="a proof that never counts",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    """Whatever is wrong in the file is told with the file, the key, and the reason."""
    path = write(tmp_path, text)
    failed, expected = refusal(path)
    assert failed.startswith(f"{path}: {told}")
    assert expected == "Only known keys, each with a valid value."


def test_a_secret_in_the_file_is_refused_without_being_shown(tmp_path: Path) -> None:
    """A database URL written into the file instead of a reference is an error whose message does not repeat it."""
    path = write(tmp_path, ENTRY + '[service.database]\nurl = "postgresql://shop:hunter2@db/shop"\n')
    failed, _ = refusal(path)
    assert failed.startswith(f"{path}: service.0.database.url: input should be")
    assert "hunter2" not in failed


def test_preset_and_commands(tmp_path: Path) -> None:
    """The preset stands for Alembic's own commands; plain commands stand for themselves."""
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
    ("route", "inside"),
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
def test_the_routes_of_a_service(tmp_path: Path, route: str, inside: bool) -> None:
    """A star stands for anything, the query does not count, and no dot segment leads out of the service."""
    assert shop(tmp_path, ENTRY).has_route(route) is inside


def test_identities_are_found_by_name(tmp_path: Path) -> None:
    """Anonymous is nobody, a configured name is its identity, and an unknown one lists the known."""
    service = shop(tmp_path, ENTRY + IDENTITY)
    assert service.identity("anonymous") is None
    found = service.identity("customer")
    assert found is not None and found.marker_route == "/account"
    with pytest.raises(InvalidInput) as refused:
        service.identity("admin")
    assert refused.value.failed == "Service shop has no identity admin."
    assert refused.value.expected == "One of: anonymous, customer."


@pytest.mark.parametrize("environment", [{}, {"SHOP_TOKEN": ""}])
def test_a_missing_variable_is_named(environment: dict[str, str]) -> None:
    """A reference to a variable that is not set, or empty, names the variable."""
    with pytest.raises(InvalidInput) as refused:
        resolve(EnvironmentReference(env="SHOP_TOKEN"), {**environment, "SHOP_TOKEN_2": "s3cret"})
    assert str(refused.value) == (
        "The environment variable SHOP_TOKEN is not set. "
        "Expected: SHOP_TOKEN set where the job runs, as slipway.toml names it. A retry is safe."
    )


def test_a_reference_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain value is itself; a reference is the value of its variable at that moment."""
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    assert resolve("varnish") == "varnish"
    assert resolve(EnvironmentReference(env="SHOP_TOKEN")) == "s3cret"


def test_a_service_keeps_references_and_not_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run writes down of its service holds the names of the secrets, never a secret."""
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    written: dict[str, Any] = shop(tmp_path, ENTRY + IDENTITY).model_dump(mode="json")
    assert written["identities"][0]["sign_in"]["form"] == {"password": {"env": "SHOP_PASSWORD"}}


def test_settings_come_from_the_environment() -> None:
    """Every setting has its variable; what is not set or empty keeps its default."""
    settings = Settings.from_environment({"SLIPWAY_CHANGES": "/srv/changes", "SLIPWAY_ADMIN_URL": "", "OTHER": "x"})
    assert settings == Settings(changes=Path("/srv/changes"))
    assert (settings.config, settings.admin_url) == (Path("slipway.toml"), "")


def test_a_prefect_secret_is_read_by_runs_only() -> None:
    """Elsewhere it counts as not set, and is refused by its name."""
    reference = PrefectSecret(secret="shop-token")
    assert not is_set(reference)
    code = "from slipway.core.settings import PrefectSecret, resolve; resolve(PrefectSecret(secret='shop-token'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "The Prefect Secret shop-token can only be read by a run." in ran.stderr


@pytest.mark.parametrize(
    ("cache", "wrong"),
    [
        (
            'kind = "apache"\nurl = "http://c"',
            "'apache' is no kind of cache; one of: akamai, bunny, cloudflare, cloudfront, fastly,",
        ),
        ('kind = "squid"', "a cache of kind squid needs url"),
        ('kind = "varnish"\nurl = "http://c"\nzone = "abc"', "a cache of kind varnish has no zone"),
        ('kind = "fastly"', "a cache of kind fastly needs zone"),
        ('kind = "bunny"\nzone = "7/../9"', "string should match pattern"),
        ('kind = "bunny"\nzone = "7"\ntoken_header = "X-Mine"', "a cache of kind bunny has no token_header"),
        ('kind = "cloudfront"\nzone = "E1"', "a cache of kind cloudfront needs credentials.access_key_id"),
        ('kind = "akamai"\nurl = "http://c"\ncredentials = { key = { env = "K" } }', "credentials.access_token, "),
        ('kind = "bunny"\nzone = "7"\ncredentials = { key = { env = "K" } }', "bunny has no credentials.key"),
        ('kind = "bunny"\nzone = "7"\nzones = "7"', "cache.zones: unknown key"),
    ],
)
def test_a_cache_fits_its_kind(tmp_path: Path, cache: str, wrong: str) -> None:
    """What a kind of cache needs is there, and nothing that it would not look at."""
    failed, _ = refusal(write(tmp_path, f'{ENTRY}[service.cache]\ntoken = {{ env = "T" }}\n{cache}\n'))
    assert wrong in failed


def test_the_token_of_a_cache_is_a_reference(tmp_path: Path) -> None:
    """A token that is written into the file is refused, and not repeated."""
    failed, _ = refusal(
        write(tmp_path, f'{ENTRY}[service.cache]\nkind = "bunny"\nzone = "7"\ntoken = "written-secret"\n')
    )
    assert "cache.token" in failed
    assert "written-secret" not in failed


UPLOAD = '[service.upload]\nroute = "/upload"\nlimit_bytes = 1_000\n'


def test_an_upload_and_a_log(tmp_path: Path) -> None:
    """What an audit needs to know of a service; without them nothing is uploaded and no log is read."""
    entry = shop(tmp_path, ENTRY + 'log = "logs/access.log"\n' + UPLOAD)
    assert entry.upload is not None and entry.upload.limit_bytes == 1_000 and entry.log == Path("logs/access.log")
    assert shop(tmp_path, ENTRY).upload is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("1_000", "0", "service.0.upload.limit_bytes"),
        ("1_000", "1_000_000_000", "service.0.upload.limit_bytes"),
        ('"/upload"', '"https://evil.example/"', "service.0.upload.route"),
        ("limit_bytes", "limit", "service.0.upload.limit"),
        ("limit_bytes", 'identity = "bob"\nlimit_bytes', "upload: its identity must be one of the service's"),
    ],
)
def test_a_wrong_upload(tmp_path: Path, old: str, new: str, told: str) -> None:
    """No limit, an endless one, another host, a typo, or somebody unknown."""
    failed, _ = refusal(write(tmp_path, ENTRY + UPLOAD.replace(old, new)))
    assert told in failed
