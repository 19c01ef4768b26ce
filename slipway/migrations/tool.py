"""Run a service's migration tool, only through the service's own commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slipway.config.service import Migrations, Service
from slipway.core.commands import LAST_LINES, CommandRun, run_command
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.core.settings import resolve
from slipway.migrations.checklist import Step, applied_head, read_checklist, steps_between

BASE = "base"  # the revision of an empty database
LOG_LINES = ("INFO", "WARN", "DEBUG")  # line prefixes of logging's usual formats; migration tools log to stderr
EXCEPTION = re.compile(r"(\w+\.)+[A-Z]\w+: |\w*(Error|Exception): ")
ALL_LINES = 10_000
PLACEHOLDER = re.compile(r"\{(?:from|to|app|name)\}")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class MigrationTool:
    """The migration commands of one service, run against one database (the live database or a copy)."""

    def __init__(self, service: Service, database_url: str, config_folder: Path, *, live: bool = False) -> None:
        if service.migrations is None or service.database is None:
            raise InvalidInput(
                f"Service {service.name} has no [service.migrations].",
                expected="[service.migrations] contains the commands.",
            )
        self.migrations: Migrations = service.migrations
        self.directory = (config_folder / service.directory).resolve()
        self.environment = {name: resolve(value) for name, value in self.migrations.environment.items()}
        self.environment[service.database.variable] = database_url
        # libpq's variables: a later attempt finds the sessions by their name, and no session waits forever.
        self.application = application_name(service)
        self.environment["PGAPPNAME"] = self.application
        options = self.environment.get("PGOPTIONS", "")
        self.environment["PGOPTIONS"] = f"{options} {_limits(self.migrations, live=live)}".strip()
        self.variable = service.database.variable
        self.commands: list[CommandRun] = []

    def current(self, near: str = "") -> str:
        """Return the revision of the database, "base" for none. Raises SlipwayError if the tool does not report one.

        If each app has its own revisions, return that of the app of the revision `near` ("app.zero" for none). Without
        `near`, return any applied revision, or "base" if nothing is applied.
        """
        return self._revision(self._run_current(), near)

    def describe_current(self, near: str) -> str:
        """Return the revision as `current` does, or a description of the error if the output contains no revision.

        Raises SlipwayError if the command itself fails.
        """
        command = self._run_current()
        try:
            return self._revision(command, near)
        except SlipwayError as error:
            return f"an unknown revision: {error.failed.rstrip('.')}"

    def sql(self, start: str, to: str) -> str:
        """Return the SQL of a migration without running it. Raises InvalidInput if a revision does not exist."""
        lines: list[str] = []
        for step in self._steps(start, to):
            command = self._run(self.migrations.argv.sql, start=start, to=step, last_lines=ALL_LINES)
            if command.exit_code != 0:
                raise _no_migration(start, to, _error_line(command))
            lines += [line for line in command.output.splitlines() if not line.startswith(LOG_LINES)]
        return "\n".join(lines)

    def _steps(self, start: str, to: str) -> tuple[str, ...]:
        """Return the targets for the `sql` command: `to` alone, or each migration if each app has its own revisions."""
        if self.migrations.argv.prints == "revision":
            return (to,)
        steps = _checklist(self._run_current())
        try:
            return steps_between(steps, start, to)
        except ValueError as error:
            raise _no_migration(start, to, f"{error}.") from None

    def _revision(self, command: CommandRun, near: str) -> str:
        if self.migrations.argv.prints == "revision":
            return _only_revision(command)
        steps = _checklist(command)
        if not near:
            return next((step.name for step in steps if step.applied), BASE)
        try:
            return applied_head(steps, near.partition(".")[0])
        except ValueError as error:
            raise _invalid_checklist(command, error) from None

    def _run_current(self) -> CommandRun:
        command = self._run(self.migrations.argv.current, last_lines=ALL_LINES)
        last_lines = "\n".join(command.output.splitlines()[-LAST_LINES:])
        self.commands[-1] = command.model_copy(update={"output": last_lines})  # only the last lines are saved
        if command.exit_code != 0:
            raise _failure(command, expected="The migration tool prints the current revision.", retry_is_safe=True)
        return command

    def upgrade(self, to: str) -> CommandRun:
        """Run the service's upgrade command; the caller checks the exit code and the database."""
        return self._run(self.migrations.argv.upgrade, to=to)

    def downgrade(self, to: str) -> CommandRun:
        """Run the service's downgrade command; the caller checks the exit code and the database."""
        return self._run(self.migrations.argv.downgrade, to=to)

    def _run(
        self, template: Sequence[str], *, start: str = "", to: str = "", last_lines: int = LAST_LINES
    ) -> CommandRun:
        app, _, name = to.partition(".")
        values = {"{from}": start, "{to}": to, "{app}": app, "{name}": name}
        argv = tuple(PLACEHOLDER.sub(lambda match: values[match[0]], part) for part in template)
        command = run_command(
            argv,
            cwd=self.directory,
            environment=self.environment,
            search=self.directory / self.migrations.bin,
            timeout_s=self.migrations.timeout_s,
            last_lines=last_lines,
        )
        self.commands.append(command)
        return command


def _limits(migrations: Migrations, *, live: bool) -> str:
    """Return the session settings of the commands: a statement timeout, and on the live database a lock timeout."""
    limits = f"-c statement_timeout={round(migrations.timeout_s * 1_000)}"
    return f"{limits} -c lock_timeout={round(migrations.lock_timeout_s * 1_000)}" if live else limits


def application_name(service: Service) -> str:
    """Return the application_name of the database sessions of a service's commands."""
    return f"slipway {service.name}"


def move_failed(command: CommandRun, *, start: str, reached: str) -> SlipwayError:
    """Return the error of a failed upgrade or downgrade, with both revisions; a retry is safe if they are equal."""
    unchanged = reached == start
    position = (
        f"The database is still at revision {start}."
        if unchanged
        else f"The database was at revision {start} and is now at {reached}."
    )
    return SlipwayError(
        f"`{' '.join(command.argv)}` exited with {command.exit_code}: {_error_line(command)} {position}",
        expected="The command exits with 0 at the requested revision.",
        retry_is_safe=unchanged,
    )


def _failure(command: CommandRun, *, expected: str, retry_is_safe: bool) -> SlipwayError:
    return SlipwayError(
        f"`{' '.join(command.argv)}` exited with {command.exit_code}: {_error_line(command)}",
        expected=expected,
        retry_is_safe=retry_is_safe,
    )


def _no_migration(start: str, to: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"The service's migration tool has no migration from {start} to {to}: {reason}",
        expected="Both revisions are in the service's own history.",
    )


def _checklist(command: CommandRun) -> tuple[Step, ...]:
    try:
        return read_checklist(command.output)
    except ValueError as error:
        raise _invalid_checklist(command, error) from None


def _invalid_checklist(command: CommandRun, error: ValueError) -> SlipwayError:
    return SlipwayError(
        f"Could not read the revision of the database from `{' '.join(command.argv)}`: {error}.",
        expected="The command prints a line `[X]  app.name ... (dependencies)` for each migration, with a space instead of "
        "the X if the migration is not applied.",
        retry_is_safe=True,
    )


def _only_revision(command: CommandRun) -> str:
    lines = [line for line in command.output.splitlines() if line.strip() and not line.startswith(LOG_LINES)]
    if not lines:
        return BASE
    revisions = {line.split()[0] for line in lines}
    if len(revisions) != 1 or not REVISION.fullmatch(next(iter(revisions))):
        raise SlipwayError(
            f"`{' '.join(command.argv)}` did not print exactly one revision: {' / '.join(lines)[:300]}",
            expected="The command prints one revision. Merge the heads of the history first if there are several.",
            retry_is_safe=True,
        )
    return revisions.pop()


def _error_line(command: CommandRun) -> str:
    """Return the last exception of a traceback (SQLAlchemy prints the SQL and a link after it), else the last line."""
    lines = [line.strip() for line in command.output.splitlines() if line.strip()]
    line = [*(lines or ["the command printed nothing."])[-1:], *(line for line in lines if EXCEPTION.match(line))][-1]
    return (line if line.endswith((".", "!", "?")) else f"{line}.")[:500]
