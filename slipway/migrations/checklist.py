"""Parse a checklist of migrations, one per line with a tick if applied, as `manage.py showmigrations` prints it.

The parser is strict: any line that does not match is an error, so that the revision of a database is never guessed.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NOTHING, NO_STEPS = "zero", "(no migrations)"
STEP = r"[^\W\d]\w*\.[\w-]+"  # the label of an app, which is an identifier, and the name of a module
LINE = re.compile(rf"\[([ X])\]  ({STEP})(?: \.\.\. \(({STEP}(?:, {STEP})*)\))?")


@dataclass(frozen=True)
class Step:
    """One migration: `app.name`, whether it is applied, and the migrations that it depends on."""

    name: str
    applied: bool
    needs: tuple[str, ...]

    @property
    def app(self) -> str:
        """The app of the migration."""
        return self.name.partition(".")[0]


def read_checklist(text: str) -> tuple[Step, ...]:
    """Return the migrations in the order in which they are applied.

    Raises ValueError, with the reason, for text that is not a checklist and for a checklist that contradicts itself.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if lines == [NO_STEPS]:
        return ()
    steps = tuple(_step(line) for line in lines)
    if not steps:
        raise ValueError("the checklist is empty")
    applied = {step.name: step.applied for step in steps}
    if len(applied) != len(steps):
        raise ValueError("a migration is listed twice")
    for step in steps:
        for need in step.needs:
            if need not in applied:
                raise ValueError(f"{step.name} needs {need}, which is not listed")
            if step.applied and not applied[need]:
                raise ValueError(f"{step.name} is applied, but {need}, which it needs, is not")
    return steps


def _step(line: str) -> Step:
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"this is not a line of a checklist: {line[:200]}")
    tick, name, needs = match.groups()
    return Step(name=name, applied=tick == "X", needs=tuple(needs.split(", ")) if needs else ())


def applied_head(steps: Sequence[Step], app: str) -> str:
    """Return the applied migration of an app on which no other applied one depends, or `app.zero` if none is applied.

    Raises ValueError for an app without migrations, and for an app with more than one such migration.
    """
    own = [step for step in steps if step.app == app]
    if not own:
        raise ValueError(f"the app {app} has no migrations")
    applied = [step for step in own if step.applied]
    needed = {need for step in applied for need in step.needs}
    heads = sorted(step.name for step in applied if step.name not in needed)
    if len(heads) > 1:
        raise ValueError(f"{' and '.join(heads)} are separate branches and must be merged first")
    return heads[0] if heads else f"{app}.{NOTHING}"


def steps_between(steps: Sequence[Step], start: str, to: str) -> tuple[str, ...]:
    """Return the migrations to apply from `start` to `to`, in order, including dependencies in other apps.

    Raises ValueError if `to` cannot be reached from `start`, or if nothing is left to apply.
    """
    needed = _with_needs(steps, to)
    from_nothing = start == f"{to.partition('.')[0]}.{NOTHING}"
    if to not in needed or not (from_nothing or start in needed):
        raise ValueError(f"there is no path from {start} to {to}")
    before = set() if from_nothing else _with_needs(steps, start)
    names = tuple(step.name for step in steps if step.name in needed - before and not step.applied)
    if not names:
        raise ValueError(f"nothing is left to apply from {start} to {to}")
    return names


def _with_needs(steps: Sequence[Step], name: str) -> set[str]:
    """Return a migration and all its dependencies, also in other apps; empty for a migration that is not listed."""
    needs = {step.name: step.needs for step in steps}
    names: set[str] = set()
    pending = [name] if name in needs else []
    while pending:
        names.add(current := pending.pop())
        pending.extend(need for need in needs[current] if need not in names)
    return names
