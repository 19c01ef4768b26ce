"""The folders below changes/ as the pages show them: the plan in words, and the record beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from slipway.admin.problems import NotFound
from slipway.config.backfill import Backfill, load_backfill
from slipway.config.change import NAME, Change, Judge, load_change
from slipway.core.errors import InvalidInput
from slipway.shipping.record import PICTURES

REQUIRES = {"improved": "it must be faster", "not-regressed": "nothing may be slower"}


@dataclass(frozen=True)
class Folder:
    """One folder: what it holds, or why its file cannot be read."""

    name: str
    change: Change | None = None
    backfill: Backfill | None = None
    fault: str = ""

    @property
    def document(self) -> Change | Backfill | None:
        """What says the owner, the reason and the way back."""
        return self.change or self.backfill

    @property
    def service(self) -> str | None:
        """The service that it is for; None while its file cannot be read."""
        return self.document.service if self.document else None


def names(changes: Path) -> list[str]:
    """The folders that hold a change or a backfill, by their names."""
    found = {path.parent.name for file in ("change.toml", "backfill.toml") for path in changes.glob(f"*/{file}")}
    return sorted(name for name in found if re.fullmatch(NAME, name))


def folders(changes: Path) -> list[Folder]:
    """Every folder, read; a file that is wrong stands there with its fault."""
    return [read(changes, name) for name in names(changes)]


def read(changes: Path, name: str) -> Folder:
    """One folder. Raises NotFound."""
    known = names(changes)
    if name not in known:
        raise NotFound(f"There is no change {name!r}.", expected=f"One of: {', '.join(known) or 'none yet'}.")
    try:
        if (changes / name / "change.toml").is_file():
            return Folder(name, change=load_change(changes, name)[0])
        return Folder(name, backfill=load_backfill(changes, name)[0])
    except InvalidInput as error:
        return Folder(name, fault=f"{error.failed} Expected: {error.expected}")


def record(changes: Path, name: str) -> str:
    """The record that the last run wrote beside a change that `names` knows, as Markdown; empty before."""
    path = changes / name / "record.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def picture(changes: Path, name: str) -> str:
    """The picture beside that record. Raises NotFound."""
    path = changes / name / PICTURES[0]
    if name not in names(changes) or not path.is_file():
        raise NotFound(f"There is no picture of {name!r}.", expected="A change that was shipped and measured.")
    return path.read_text(encoding="utf-8")


def facts(folder: Folder) -> list[tuple[str, list[str]]]:
    """The plan as names and lines, in the order in which a run goes through it."""
    if folder.change is not None:
        return [(name, lines) for name, lines in _of_change(folder.change) if lines]
    return [(name, lines) for name, lines in _of_backfill(folder.backfill) if lines] if folder.backfill else []


def _of_change(change: Change) -> list[tuple[str, list[str]]]:
    move, purge = change.migrate, change.purge
    leaves = [*purge.routes, *(f"every page with the tag {tag}" for tag in purge.tags)] if purge else []
    leaves += [f"{each.pattern} for each id of: {each.ids}" for each in purge.by_ids] if purge else []
    return [
        ("needs first", [f"the backfill {name}" for name in change.requires_backfill]),
        ("must pass in an audit", list(change.audit)),
        ("asks a person", [f"after the rehearsal, for {change.approval_within_h:g} hours"] if _asks(change) else []),
        ("migrates", [f"from {move.start} to {move.to}"] if move else ["nothing: the change has no migration"]),
        ("leaves the cache", leaves or ["nothing"]),
        ("is measured", [_pair(*each) for each in _pairs(change)]),
        ("is accepted by its owner", list(change.rehearse.accept)),
        ("demand", _demand(change.judge)),
    ]


def _asks(change: Change) -> bool:
    return change.approval == "required"


def _pairs(change: Change) -> list[tuple[str, str, str, str]]:
    return [(pair.route, pair.identity, pair.control_route, pair.control_identity) for pair in change.pairs()]


def _pair(route: str, identity: str, control_route: str, control_identity: str) -> str:
    return f"{route} as {identity}, beside {control_route} as {control_identity}, which the change cannot affect"


def _demand(judge: Judge) -> list[str]:
    return [
        f"{judge.require}: {REQUIRES[judge.require]}, by a margin of {judge.margin:.0%}",
        f"regressed: {judge.on_regressed}; no clear answer: {judge.on_inconclusive}",
    ]


def _of_backfill(backfill: Backfill) -> list[tuple[str, list[str]]]:
    health, batch = backfill.health, backfill.batch
    rows = [f"those of the file {backfill.csv.file}"] if backfill.csv else [backfill.where or "every row"]
    holds = [
        f"a transaction is older than {health.longest_transaction_s:g} s" if health.longest_transaction_s else "",
        f"a replica lags by {health.replication_lag_s:g} s" if health.replication_lag_s else "",
        "autovacuum is at the table" if health.wait_for_autovacuum else "",
        f"{health.route} takes longer than {health.latency_ms:g} ms" if health.route else "",
    ]
    return [
        ("changes", [f"{column} = {expression}" for column, expression in backfill.assign.items()]),
        ("of the table", [f"{backfill.table}, in the order of {backfill.key}"]),
        ("rows", rows),
        ("batches", [f"of {batch.smallest:,} to {batch.largest:,} rows, {batch.load:.0%} of the time at work"]),
        ("waits while", [line for line in holds if line]),
        ("skips", [f"up to {backfill.max_bad_rows:,} bad rows"] if backfill.max_bad_rows else []),
    ]
