"""A service: a live web service that Slipway manages, one entry of the array in `slipway.toml`.

Secrets, and values that differ between environments, are references to environment variables: `{ env = "NAME" }`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from slipway.config.cache_kinds import key_error
from slipway.core.errors import InvalidInput
from slipway.core.frozen import (
    ANONYMOUS,
    Argv,
    FrozenModel,
    HeaderName,
    HeaderValue,
    IdentityName,
    Route,
    RouteAs,
    ServiceName,
)
from slipway.core.settings import Hidden, Reference
from slipway.core.toml_files import parse, read_toml

PURGE_HEADER = "X-Purge-Token"
ZONE = r"^[A-Za-z0-9]{1,64}$"


class Database(FrozenModel):
    """The service's database. `variable` is the environment variable with which its own commands get the URL."""

    url: Hidden
    variable: str = Field(default="DATABASE_URL", pattern=r"^[A-Z][A-Z0-9_]*$")
    role: str = Field(default="", max_length=63)  # the role of the running service, if it is not the role in the URL
    clone: Hidden | None = None  # a copy that the owner maintains; rehearsals use it instead of making a copy
    copy_within_s: float = Field(default=3_600, gt=0, le=604_800)  # a copy that would take longer is not started


class MigrationCommands(FrozenModel):
    """The service's own migration commands. `{from}` and `{to}` are replaced by revisions.

    `prints` is the output format of `current`: the `revision`, or a `checklist` of all migrations of all apps. With a
    checklist, a revision is `app.name` (`app.zero` for none), `{app}` and `{name}` are the parts of `{to}`, and `sql`
    runs once for each migration between the two revisions.
    """

    upgrade: Argv
    downgrade: Argv
    current: Argv
    sql: Argv
    prints: Literal["revision", "checklist"] = "revision"

    @model_validator(mode="after")
    def _halves(self) -> MigrationCommands:
        parts = (*self.upgrade, *self.downgrade, *self.sql)
        if self.prints == "revision" and any("{app}" in part or "{name}" in part for part in parts):
            raise ValueError('{app} and {name} are allowed only with prints = "checklist"')
        return self


PRESETS = {
    "alembic": MigrationCommands(
        upgrade=("alembic", "upgrade", "{to}"),
        downgrade=("alembic", "downgrade", "{to}"),
        current=("alembic", "current"),
        sql=("alembic", "upgrade", "{from}:{to}", "--sql"),
    ),
    "django": MigrationCommands(
        upgrade=("python", "manage.py", "migrate", "{app}", "{name}", "--no-input"),
        downgrade=("python", "manage.py", "migrate", "{app}", "{name}", "--no-input"),
        current=("python", "manage.py", "showmigrations", "--plan", "--verbosity", "2"),  # 2: with the dependencies
        sql=("python", "manage.py", "sqlmigrate", "{app}", "{name}"),
        prints="checklist",
    ),
}


class Migrations(FrozenModel):
    """The migration commands: a preset or custom commands. They run in `directory` with `bin` first in the search path."""

    preset: Literal["alembic", "django"] | None = None
    commands: MigrationCommands | None = None
    bin: str = ".venv/bin"
    timeout_s: float = Field(default=600, gt=0, le=86_400)
    lock_timeout_s: float = Field(default=1, ge=0.05, le=60)  # of one attempt, during which other sessions wait too
    tries: int = Field(default=12, ge=1, le=100)
    environment: dict[str, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Migrations:
        if (self.preset is None) == (self.commands is None):
            raise ValueError("set exactly one of preset and commands")
        return self

    @property
    def argv(self) -> MigrationCommands:
        """The commands to run: the custom commands or those of the preset."""
        return self.commands if self.commands is not None else PRESETS[self.preset or ""]


class Serve(FrozenModel):
    """How to start the service's own code on another database: a command with `{port}`, and a route to check readiness."""

    command: Argv
    ready: Route = "/health"
    bin: str = ".venv/bin"
    within_s: float = Field(default=30, gt=0, le=600)
    environment: dict[str, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _own_port(self) -> Serve:
        if not any("{port}" in part for part in self.command):
            raise ValueError("the command must contain {port}, so that it does not use the port of the live service")
        return self


class Cache(FrozenModel):
    """The shared cache in front of the service, and how to purge it; docs/how-to/own-service.md lists the kinds."""

    kind: Reference
    url: Reference | None = None  # of a self-hosted cache; for a CDN it replaces the address of the provider's API
    zone: Annotated[str, Field(pattern=ZONE)] | Hidden | None = None  # the service, zone or pull zone of a CDN
    token: Hidden  # for CloudFront the secret access key, for Akamai the client secret
    credentials: dict[str, Hidden] = Field(default_factory=dict)  # the other credentials of CloudFront and Akamai
    token_header: str = Field(default=PURGE_HEADER, pattern=r"^[A-Za-z0-9-]+$")
    origin_timeout_s: float = Field(default=10, ge=0, le=120)
    controls: tuple[Route, ...] = ()
    variants: tuple[Annotated[dict[HeaderName, HeaderValue], Field(min_length=1)], ...] = ()  # by request headers

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Cache:
        error = self.key_error(self.kind) if isinstance(self.kind, str) else ""
        if error:
            raise ValueError(error)
        return self

    def key_error(self, kind: str) -> str:
        """Return which keys are missing or not allowed for a kind of cache, as a message; empty if the keys are valid."""
        given = {key for key in ("url", "zone") if getattr(self, key) is not None}
        # Compare the value instead of `model_fields_set`: a run passes entries on as JSON, in which every field is set.
        given |= {"token_header"} if self.token_header != PURGE_HEADER else set()
        return key_error(kind, given | {f"credentials.{name}" for name in self.credentials})


class SignIn(FrozenModel):
    """How an identity signs in. Secrets are references.

    There are three ways: a `form` that is posted to `path`, `headers` on every request, or `cookies`. With `csrf_field`,
    the page at `path` is read first, and its hidden field of this name is sent with the form.
    """

    path: Route | None = None
    form: dict[str, Reference] | None = None
    csrf_field: str | None = Field(default=None, min_length=1, max_length=100)
    headers: dict[HeaderName, Reference] = Field(default_factory=dict)
    cookies: dict[HeaderName, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> SignIn:
        if (self.form is None) != (self.path is None):
            raise ValueError("set both form and path, or neither")
        if sum((self.form is not None, bool(self.headers), bool(self.cookies))) != 1:
            raise ValueError("set exactly one of form, headers and cookies")
        if self.csrf_field is not None and self.form is None:
            raise ValueError("csrf_field is allowed only with form")
        return self


class Identity(FrozenModel):
    """A configured test user. `marker` is a text that `marker_route` shows only to this user."""

    name: IdentityName
    sign_in: SignIn
    marker: str = Field(min_length=3)
    marker_route: Route


class Probe(FrozenModel):
    """The load that a measurement may cause, as the service's owner sets it."""

    rate: float = Field(default=50, gt=0, le=2_000)  # requests per second, over all routes together
    bursts: int = Field(default=20, ge=20, le=500)
    requests: int = Field(default=50, ge=20, le=1_000)  # per route and burst
    seconds: float = Field(default=50, ge=5, le=3_600)  # minimum duration; longer if the rate requires it
    timeout_s: float = Field(default=5, gt=0, le=60)
    in_flight: int = Field(default=64, ge=1, le=1_000)
    watch: tuple[RouteAs, ...] = ()  # the routes that measure-service measures


class Upload(FrozenModel):
    """A route that accepts bodies. An audit posts `limit_bytes` + 1 bytes; `unchanged` must then show the same as before."""

    route: Route
    limit_bytes: int = Field(gt=0, le=100_000_000)
    identity: IdentityName = ANONYMOUS
    unchanged: Route | None = None


class Staging(FrozenModel):
    """The service on which a change must have been kept and rolled back first, within the last `within_h` hours."""

    service: ServiceName
    within_h: float = Field(default=168, gt=0, le=24 * 90)


class Service(FrozenModel):
    """One live web service."""

    name: ServiceName
    url: Reference
    directory: Path = Path(".")
    routes: tuple[Route, ...] = Field(min_length=1)
    database: Database | None = None
    migrations: Migrations | None = None
    serve: Serve | None = None
    cache: Cache | None = None
    identities: tuple[Identity, ...] = ()
    probe: Probe = Probe()
    staging: Staging | None = None
    upload: Upload | None = None
    log: Path | None = None  # log file with a line for every request; relative to the folder of slipway.toml

    @model_validator(mode="after")
    def _consistent(self) -> Service:
        names = [identity.name for identity in self.identities]
        if len(set(names)) != len(names) or ANONYMOUS in names:
            raise ValueError("identities: names must be unique, and must not be 'anonymous'")
        if self.migrations is not None and self.database is None:
            raise ValueError("migrations require a database")
        if self.upload is not None and self.upload.identity not in {*names, ANONYMOUS}:
            raise ValueError("upload: the identity must be one of the service's identities")
        return self

    def has_route(self, route: str) -> bool:
        """Return whether a concrete route matches the service's patterns (`*` is a wildcard; the query is ignored).

        A route with dot segments never matches: clients resolve these (RFC 3986, section 5.2.4) and request another route.
        """
        path = route.partition("?")[0]
        dotted = not {".", ".."}.isdisjoint(path.lower().replace("%2e", ".").split("/"))
        return not dotted and any(fnmatchcase(path, pattern) for pattern in self.routes)

    def identity(self, name: str) -> Identity | None:
        """Return the configured identity, or None for the anonymous one. Raises InvalidInput for an unknown name."""
        if name == ANONYMOUS:
            return None
        for identity in self.identities:
            if identity.name == name:
                return identity
        known = ", ".join([ANONYMOUS, *(identity.name for identity in self.identities)])
        raise InvalidInput(f"Service {self.name} has no identity {name}.", expected=f"One of: {known}.")


class Services(FrozenModel):
    """The file slipway.toml."""

    service: tuple[Service, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Services:
        names = [service.name for service in self.service]
        if len(set(names)) != len(names):
            raise ValueError("service: names must be unique")
        return self

    @model_validator(mode="after")
    def _staged(self) -> Services:
        by_name = {service.name: service for service in self.service}
        for service in self.service:
            if service.staging is None:
                continue
            other = by_name.get(service.staging.service)
            if other is None or other is service or other.staging is not None:
                raise ValueError(
                    f"{service.name}: staging must be another service in this file, and that service must have no staging"
                )
        return self


def load_services(path: Path) -> dict[str, Service]:
    """Load all services by name. Raises InvalidInput for a missing or invalid file."""
    return {service.name: service for service in parse(Services, read_toml(path), where=str(path)).service}


def load_service(path: Path, name: str, *, on_staging: bool = False) -> Service:
    """Load one service, or its staging service. Raises InvalidInput with the known names for an unknown name."""
    services = load_services(path)
    if name not in services:
        raise InvalidInput(f"There is no service {name!r}.", expected=f"One of: {', '.join(sorted(services))}.")
    if not on_staging:
        return services[name]
    staging = services[name].staging
    if staging is None:
        raise InvalidInput(f"Service {name} has no staging service.", expected="`[service.staging]` in its entry.")
    return services[staging.service]
