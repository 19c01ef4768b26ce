"""A service: a live web service that Slipway looks after, one entry of the array in `slipway.toml`.

Values that differ between places, and every secret, are references into the environment: `{ env = "NAME" }`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from slipway.config.cache_kinds import misfit
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
    """The service's database; `variable` is the environment variable by which its own commands learn the URL."""

    url: Hidden
    variable: str = Field(default="DATABASE_URL", pattern=r"^[A-Z][A-Z0-9_]*$")
    role: str = Field(default="", max_length=63)  # as which the service runs, where that is not the URL's own
    clone: Hidden | None = None  # a copy that the owner keeps: rehearsals use it, and copy nothing
    copy_within_s: float = Field(default=3_600, gt=0, le=604_800)  # no copy is begun that would take longer


class MigrationCommands(FrozenModel):
    """The service's real deployment commands; `{from}` and `{to}` are replaced by revisions.

    `prints` says what `current` prints: the `revision`, or a `checklist` of all migrations of all apps. With a checklist a
    revision is `app.name` (`app.zero` for none), `{app}` and `{name}` are the halves of `{to}`, and `sql` is asked for
    each migration on the way.
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
            raise ValueError('{app} and {name} are known only with prints = "checklist"')
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
        current=("python", "manage.py", "showmigrations", "--plan", "--verbosity", "2"),  # 2: with what each one needs
        sql=("python", "manage.py", "sqlmigrate", "{app}", "{name}"),
        prints="checklist",
    ),
}


class Migrations(FrozenModel):
    """How the service migrates: a preset or plain commands, started in `directory` with `bin` first on the path."""

    preset: Literal["alembic", "django"] | None = None
    commands: MigrationCommands | None = None
    bin: str = ".venv/bin"
    timeout_s: float = Field(default=600, gt=0, le=86_400)
    lock_timeout_s: float = Field(default=1, ge=0.05, le=60)  # how long a try may wait for a lock, and others behind it
    tries: int = Field(default=12, ge=1, le=100)
    environment: dict[str, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> Migrations:
        if (self.preset is None) == (self.commands is None):
            raise ValueError("either preset or commands, not both and not neither")
        return self

    @property
    def argv(self) -> MigrationCommands:
        """The commands in force."""
        return self.commands if self.commands is not None else PRESETS[self.preset or ""]


class Serve(FrozenModel):
    """How the service's own code starts on another database: a command with `{port}`, and the route that tells it is up."""

    command: Argv
    ready: Route = "/health"
    bin: str = ".venv/bin"
    within_s: float = Field(default=30, gt=0, le=600)
    environment: dict[str, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _own_port(self) -> Serve:
        if not any("{port}" in part for part in self.command):
            raise ValueError("the command must take {port}: it must not answer where the live service does")
        return self


class Cache(FrozenModel):
    """The shared cache in front of the service and how a purge reaches it; docs/own-service.md has a table of the kinds."""

    kind: Reference
    url: Reference | None = None  # where one's own cache is; of a CDN it replaces the address of the provider's API
    zone: Annotated[str, Field(pattern=ZONE)] | Hidden | None = None  # a CDN's service, zone or pull zone
    token: Hidden  # at CloudFront the secret access key, at Akamai the client secret
    credentials: dict[str, Hidden] = Field(default_factory=dict)  # what these two have beside it
    token_header: str = Field(default=PURGE_HEADER, pattern=r"^[A-Za-z0-9-]+$")
    origin_timeout_s: float = Field(default=10, ge=0, le=120)
    controls: tuple[Route, ...] = ()
    variants: tuple[Annotated[dict[HeaderName, HeaderValue], Field(min_length=1)], ...] = ()  # by request headers

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Cache:
        wrong = self.misfit(self.kind) if isinstance(self.kind, str) else ""
        if wrong:
            raise ValueError(wrong)
        return self

    def misfit(self, kind: str) -> str:
        """What the entry lacks, or has too much, for a kind of cache; "" when it fits."""
        given = {key for key in ("url", "zone") if getattr(self, key) is not None}
        # Not by whether it was set: a run hands entries on as JSON, in which every field is set.
        given |= {"token_header"} if self.token_header != PURGE_HEADER else set()
        return misfit(kind, given | {f"credentials.{name}" for name in self.credentials})


class SignIn(FrozenModel):
    """How an identity signs in; secrets by reference.

    By a `form` that is posted to `path` (with `csrf_field`, that page is read first and its hidden field of that name sent
    along), by `headers` on every request, or by `cookies`.
    """

    path: Route | None = None
    form: dict[str, Reference] | None = None
    csrf_field: str | None = Field(default=None, min_length=1, max_length=100)
    headers: dict[HeaderName, Reference] = Field(default_factory=dict)
    cookies: dict[HeaderName, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> SignIn:
        if (self.form is None) != (self.path is None):
            raise ValueError("form and path belong together")
        if sum((self.form is not None, bool(self.headers), bool(self.cookies))) != 1:
            raise ValueError("either a form, or headers, or cookies")
        if self.csrf_field is not None and self.form is None:
            raise ValueError("csrf_field belongs to a form")
        return self


class Identity(FrozenModel):
    """A configured test user; `marker` is text that `marker_route` shows only to this user."""

    name: IdentityName
    sign_in: SignIn
    marker: str = Field(min_length=3)
    marker_route: Route


class Probe(FrozenModel):
    """How hard a measurement may press, as the service's owner sets it."""

    rate: float = Field(default=50, gt=0, le=2_000)  # requests a second, over all routes together
    bursts: int = Field(default=20, ge=20, le=500)
    requests: int = Field(default=50, ge=20, le=1_000)  # per route and burst
    seconds: float = Field(default=50, ge=5, le=3_600)  # at least so long, longer where the rate asks for it
    timeout_s: float = Field(default=5, gt=0, le=60)
    in_flight: int = Field(default=64, ge=1, le=1_000)
    watch: tuple[RouteAs, ...] = ()  # what measure-service measures


class Upload(FrozenModel):
    """A route that takes bodies: an audit posts one byte over `limit_bytes`, and `unchanged` must show the same as before."""

    route: Route
    limit_bytes: int = Field(gt=0, le=100_000_000)
    identity: IdentityName = ANONYMOUS
    unchanged: Route | None = None


class Staging(FrozenModel):
    """The service on which a change must have been kept and rolled back first, and for how many hours that counts."""

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
    log: Path | None = None  # to which every request adds, beside slipway.toml

    @model_validator(mode="after")
    def _consistent(self) -> Service:
        names = [identity.name for identity in self.identities]
        if len(set(names)) != len(names) or ANONYMOUS in names:
            raise ValueError("identities: each name once, and never 'anonymous'")
        if self.migrations is not None and self.database is None:
            raise ValueError("migrations need a database")
        if self.upload is not None and self.upload.identity not in {*names, ANONYMOUS}:
            raise ValueError("upload: its identity must be one of the service's")
        return self

    def has_route(self, route: str) -> bool:
        """Whether a concrete route lies inside the service's own patterns (`*` is a wildcard; the query does not count).

        A route with dot segments never does: clients resolve them (RFC 3986, section 5.2.4) and would ask for another.
        """
        path = route.partition("?")[0]
        dotted = not {".", ".."}.isdisjoint(path.lower().replace("%2e", ".").split("/"))
        return not dotted and any(fnmatchcase(path, pattern) for pattern in self.routes)

    def identity(self, name: str) -> Identity | None:
        """The configured identity, or None for the anonymous one. Raises InvalidInput for an unknown name."""
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
            raise ValueError("service: each name once")
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
                    f"{service.name}: its staging must be another service of this file that has none of its own"
                )
        return self


def load_services(path: Path) -> dict[str, Service]:
    """All services by name. Raises InvalidInput for a file that is missing or wrong."""
    return {service.name: service for service in parse(Services, read_toml(path), where=str(path)).service}


def load_service(path: Path, name: str, *, on_staging: bool = False) -> Service:
    """One service, or its staging. Raises InvalidInput with the known names when there is none of that name."""
    services = load_services(path)
    if name not in services:
        raise InvalidInput(f"There is no service {name!r}.", expected=f"One of: {', '.join(sorted(services))}.")
    if not on_staging:
        return services[name]
    staging = services[name].staging
    if staging is None:
        raise InvalidInput(f"Service {name} names no staging service.", expected="`staging` in its entry.")
    return services[staging.service]
