"""A checklist of migrations, one a line with a tick for each that is applied, as `manage.py showmigrations` prints it.

Strict: what cannot be read as a whole is an error, so that nothing is ever guessed about where a database stands.

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
    """One migration: `app.name`, whether it is applied, and the ones that have to be applied before it."""

    name: str
    applied: bool
    needs: tuple[str, ...]

    @property
    def app(self) -> str:
        """The app to which it belongs."""
        return self.name.partition(".")[0]


def read_checklist(text: str) -> tuple[Step, ...]:
    """The steps in the order in which they would be applied.

    Raises ValueError, in words, for text that is no such list, or for a list that contradicts itself.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if lines == [NO_STEPS]:
        return ()
    steps = tuple(_step(line) for line in lines)
    if not steps:
        raise ValueError("it is empty")
    applied = {step.name: step.applied for step in steps}
    if len(applied) != len(steps):
        raise ValueError("a migration stands there twice")
    for step in steps:
        for need in step.needs:
            if need not in applied:
                raise ValueError(f"{step.name} needs {need}, which is not listed")
            if step.applied and not applied[need]:
                raise ValueError(f"{step.name} is applied, and {need}, which it needs, is not")
    return steps


def _step(line: str) -> Step:
    read = LINE.fullmatch(line)
    if read is None:
        raise ValueError(f"no line of a checklist: {line[:200]}")
    tick, name, needs = read.groups()
    return Step(name=name, applied=tick == "X", needs=tuple(needs.split(", ")) if needs else ())


def stands_at(steps: Sequence[Step], app: str) -> str:
    """The one applied migration of an app that no other applied one of the app builds upon, `app.zero` where none is.

    Raises ValueError for an app without migrations, and for an app whose branches are applied side by side.
    """
    own = [step for step in steps if step.app == app]
    if not own:
        raise ValueError(f"the app {app} has no migrations")
    applied = [step for step in own if step.applied]
    built_upon = {need for step in applied for need in step.needs}
    heads = sorted(step.name for step in applied if step.name not in built_upon)
    if len(heads) > 1:
        raise ValueError(f"{' and '.join(heads)} are applied side by side, and have to be merged first")
    return heads[0] if heads else f"{app}.{NOTHING}"


def way_between(steps: Sequence[Step], start: str, to: str) -> tuple[str, ...]:
    """What is applied on the way from `start` to `to`, in that order; what `to` needs of other apps is part of it.

    Raises ValueError where no way leads there.
    """
    needed = _with_needs(steps, to)
    nothing = start == f"{to.partition('.')[0]}.{NOTHING}"
    if to not in needed or not (nothing or start in needed):
        raise ValueError(f"no way leads from {start} to {to}")
    behind = set() if nothing else _with_needs(steps, start)
    way = tuple(step.name for step in steps if step.name in needed - behind and not step.applied)
    if not way:
        raise ValueError(f"nothing is left to apply from {start} to {to}")
    return way


def _with_needs(steps: Sequence[Step], name: str) -> set[str]:
    """A migration and all that it needs, also of other apps; empty for one that is not listed."""
    needs = {step.name: step.needs for step in steps}
    found: set[str] = set()
    left = [name] if name in needs else []
    while left:
        found.add(one := left.pop())
        left.extend(need for need in needs[one] if need not in found)
    return found
