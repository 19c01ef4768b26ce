"""A service's migration tool, spoken to only through the service's own commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slipway.config.service import Migrations, Service
from slipway.core.commands import LAST_LINES, CommandRun, run_command
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import resolve
from slipway.migrations.checklist import Step, read_checklist, stands_at, way_between

BASE = "base"  # what the tool says of a database without any revision
LOG_LINES = ("INFO", "WARN", "DEBUG")  # as logging's usual formats begin; migration tools log to stderr
RAISED = re.compile(r"(\w+\.)+[A-Z]\w+: |\w*(Error|Exception): ")
WHOLE = 10_000  # lines
PLACEHOLDER = re.compile(r"\{(?:from|to|app|name)\}")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class MigrationTool:
    """The commands of one service against one database (the live one, or a copy)."""

    def __init__(self, service: Service, database_url: str, config_folder: Path, *, live: bool = False) -> None:
        if service.migrations is None or service.database is None:
            raise InvalidInput(f"Service {service.name} has no [service.migrations].", expected="Its entry to say how.")
        self.migrations: Migrations = service.migrations
        self.directory = (config_folder / service.directory).resolve()
        self.environment = {name: resolve(value) for name, value in self.migrations.environment.items()}
        self.environment[service.database.variable] = database_url
        # libpq's variables: so that a later attempt finds our sessions, and so that no session waits for ever.
        self.application = application_name(service)
        self.environment["PGAPPNAME"] = self.application
        given = self.environment.get("PGOPTIONS", "")
        self.environment["PGOPTIONS"] = f"{given} {_limits(self.migrations, live=live)}".strip()
        self.variable = service.database.variable
        self.ran: list[CommandRun] = []

    def current(self, near: str = "") -> str:
        """The revision at which the database stands, "base" for none. Raises SlipwayError when it cannot be told.

        Where each app has revisions of its own, it is the one of the app of the revision `near` ("app.zero" for none);
        without `near`, one that is applied in any app, "base" where nothing is.
        """
        return self._read(self._look(), near)

    def reached(self, near: str) -> str:
        """Where a move has left the database: as `current`, or why the tool's answer tells no revision, in words.

        Raises SlipwayError when the tool does not answer at all.
        """
        ran = self._look()
        try:
            return self._read(ran, near)
        except SlipwayError as error:
            return f"no revision that can be told: {error.failed.rstrip('.')}"

    def sql(self, start: str, to: str) -> str:
        """The SQL of a move, without running it. Raises InvalidInput when a revision does not exist."""
        lines: list[str] = []
        for step in self._way(start, to):
            ran = self._run(self.migrations.argv.sql, start=start, to=step, last_lines=WHOLE)
            if ran.exit_code != 0:
                raise _no_way(start, to, _last_words(ran))
            lines += [line for line in ran.output.splitlines() if not line.startswith(LOG_LINES)]
        return "\n".join(lines)

    def _way(self, start: str, to: str) -> tuple[str, ...]:
        """What `sql` is asked for: the whole move, or where each app has revisions of its own each migration by itself."""
        if self.migrations.argv.prints == "revision":
            return (to,)
        steps = _checklist(self._look())
        try:
            return way_between(steps, start, to)
        except ValueError as error:
            raise _no_way(start, to, f"{error}.") from None

    def _read(self, ran: CommandRun, near: str) -> str:
        if self.migrations.argv.prints == "revision":
            return _only_revision(ran)
        steps = _checklist(ran)
        if not near:
            return next((step.name for step in steps if step.applied), BASE)
        try:
            return stands_at(steps, near.partition(".")[0])
        except ValueError as error:
            raise _unread(ran, error) from None

    def _look(self) -> CommandRun:
        ran = self._run(self.migrations.argv.current, last_lines=WHOLE)
        shown = "\n".join(ran.output.splitlines()[-LAST_LINES:])
        self.ran[-1] = ran.model_copy(update={"output": shown})  # what is kept of a long list is its end
        if ran.exit_code != 0:
            raise _failure(ran, expected="The tool to tell the current revision.", retry_is_safe=True)
        return ran

    def upgrade(self, to: str) -> CommandRun:
        """Run the service's upgrade command; the caller looks at the exit code and at the database."""
        return self._run(self.migrations.argv.upgrade, to=to)

    def downgrade(self, to: str) -> CommandRun:
        """Run the service's downgrade command; the caller looks at the exit code and at the database."""
        return self._run(self.migrations.argv.downgrade, to=to)

    def _run(
        self, template: Sequence[str], *, start: str = "", to: str = "", last_lines: int = LAST_LINES
    ) -> CommandRun:
        app, _, name = to.partition(".")
        values = {"{from}": start, "{to}": to, "{app}": app, "{name}": name}
        argv = tuple(PLACEHOLDER.sub(lambda found: values[found[0]], part) for part in template)
        ran = run_command(
            argv,
            cwd=self.directory,
            environment=self.environment,
            search=self.directory / self.migrations.bin,
            timeout_s=self.migrations.timeout_s,
            last_lines=last_lines,
        )
        self.ran.append(ran)
        return ran


def _limits(migrations: Migrations, *, live: bool) -> str:
    """Session settings of the service's commands: a statement ends with its command, and a live one waits for no lock long."""
    limits = f"-c statement_timeout={round(migrations.timeout_s * 1_000)}"
    return f"{limits} -c lock_timeout={round(migrations.lock_timeout_s * 1_000)}" if live else limits


def application_name(service: Service) -> str:
    """How the sessions of a service's commands call themselves in its database."""
    return f"slipway {service.name}"


def move_failed(ran: CommandRun, *, was: str, stands: str) -> SlipwayError:
    """The error for a move of the database that went wrong: where it was, where it stands, whether a retry is safe."""
    unchanged = stands == was
    place = (
        f"The database still stands at {was}." if unchanged else f"The database was at {was} and stands at {stands}."
    )
    return SlipwayError(
        f"`{' '.join(ran.argv)}` ended with {ran.exit_code}: {_last_words(ran)} {place}",
        expected="It to end with 0 at the wanted revision.",
        retry_is_safe=unchanged,
    )


def _failure(ran: CommandRun, *, expected: str, retry_is_safe: bool) -> SlipwayError:
    return SlipwayError(
        f"`{' '.join(ran.argv)}` ended with {ran.exit_code}: {_last_words(ran)}",
        expected=expected,
        retry_is_safe=retry_is_safe,
    )


def _no_way(start: str, to: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The service's tool knows no migration from {start} to {to}: {why}",
        expected="Two revisions of the service's own history.",
    )


def _checklist(ran: CommandRun) -> tuple[Step, ...]:
    try:
        return read_checklist(ran.output)
    except ValueError as error:
        raise _unread(ran, error) from None


def _unread(ran: CommandRun, error: ValueError) -> SlipwayError:
    return SlipwayError(
        f"`{' '.join(ran.argv)}` does not tell where the database stands: {error}.",
        expected="A line `[X]  app.name ... (what it needs)` for each migration, with a space for the X where it is not "
        "applied.",
        retry_is_safe=True,
    )


def _only_revision(ran: CommandRun) -> str:
    lines = [line for line in ran.output.splitlines() if line.strip() and not line.startswith(LOG_LINES)]
    if not lines:
        return BASE
    found = {line.split()[0] for line in lines}
    if len(found) != 1 or not REVISION.fullmatch(next(iter(found))):
        raise SlipwayError(
            f"`{' '.join(ran.argv)}` did not name one revision: {' / '.join(lines)[:300]}",
            expected="One revision; a history with several heads has to be merged first.",
            retry_is_safe=True,
        )
    return found.pop()


def _last_words(ran: CommandRun) -> str:
    """The last exception of a traceback (what SQLAlchemy prints behind it is the SQL and a link), else the last line."""
    lines = [line.strip() for line in ran.output.splitlines() if line.strip()]
    line = [*(lines or ["it printed nothing."])[-1:], *(line for line in lines if RAISED.match(line))][-1]
    return (line if line.endswith((".", "!", "?")) else f"{line}.")[:500]
