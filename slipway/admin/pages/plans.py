"""Read the folders below changes/ for the pages: the plan as text, the record and its picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from slipway.admin.problems import NotFound
from slipway.config.backfill import Backfill, load_backfill
from slipway.config.change import NAME, Change, Judge, load_change
from slipway.core.errors import InvalidInput
from slipway.shipping.record import PICTURES

REQUIREMENTS = {"improved": "the targets must be faster", "not-regressed": "no target may be slower"}


@dataclass(frozen=True)
class Folder:
    """One folder: its change or backfill, or the reason why its file cannot be read."""

    name: str
    change: Change | None = None
    backfill: Backfill | None = None
    fault: str = ""

    @property
    def document(self) -> Change | Backfill | None:
        """The change or backfill, which has the owner, the reason and the rollback; None if the file cannot be read."""
        return self.change or self.backfill

    @property
    def service(self) -> str | None:
        """The service of the change or backfill; None if the file cannot be read."""
        return self.document.service if self.document else None


def names(changes: Path) -> list[str]:
    """Return the sorted names of the folders that contain a change or a backfill."""
    candidates = {path.parent.name for file in ("change.toml", "backfill.toml") for path in changes.glob(f"*/{file}")}
    return sorted(name for name in candidates if re.fullmatch(NAME, name))


def folders(changes: Path) -> list[Folder]:
    """Read every folder. A folder whose file is invalid has a `fault`."""
    return [read(changes, name) for name in names(changes)]


def read(changes: Path, name: str) -> Folder:
    """Read one folder. Raises NotFound."""
    known = names(changes)
    if name not in known:
        raise NotFound(f"There is no change {name!r}.", expected=f"One of: {', '.join(known) or '(none yet)'}.")
    try:
        if (changes / name / "change.toml").is_file():
            return Folder(name, change=load_change(changes, name)[0])
        return Folder(name, backfill=load_backfill(changes, name)[0])
    except InvalidInput as error:
        return Folder(name, fault=f"{error.failed} Expected: {error.expected}")


def record(changes: Path, name: str) -> str:
    """Return the record of the last run of a change, as Markdown; empty if there is none. `names` must contain the name."""
    path = changes / name / "record.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def picture(changes: Path, name: str) -> str:
    """Return the picture of the record, as SVG. Raises NotFound."""
    path = changes / name / PICTURES[0]
    if name not in names(changes) or not path.is_file():
        raise NotFound(
            f"There is no picture of {name!r}.", expected="A change that a run has already shipped and measured."
        )
    return path.read_text(encoding="utf-8")


def facts(folder: Folder) -> list[tuple[str, list[str]]]:
    """Return the plan as (name, lines) pairs, in the order in which a run carries it out."""
    if folder.change is not None:
        return [(name, lines) for name, lines in _of_change(folder.change) if lines]
    return [(name, lines) for name, lines in _of_backfill(folder.backfill) if lines] if folder.backfill else []


def _of_change(change: Change) -> list[tuple[str, list[str]]]:
    move, purge = change.migrate, change.purge
    purged = [*purge.routes, *(f"every page with the tag {tag}" for tag in purge.tags)] if purge else []
    purged += [f"{routes.pattern} for each id of: {routes.ids}" for routes in purge.by_ids] if purge else []
    return [
        ("requires", [f"the backfill {name}" for name in change.requires_backfill]),
        ("required audit items", list(change.audit)),
        (
            "approval",
            [f"within {change.approval_within_h:g} hours after the rehearsal"] if _needs_approval(change) else [],
        ),
        ("migration", [f"from {move.start} to {move.to}"] if move else ["none"]),
        ("cache purge", purged or ["none"]),
        ("measurement", [_pair(*pair) for pair in _pairs(change)]),
        ("accepted findings", list(change.rehearse.accept)),
        ("required verdict", _requirement(change.judge)),
    ]


def _needs_approval(change: Change) -> bool:
    return change.approval == "required"


def _pairs(change: Change) -> list[tuple[str, str, str, str]]:
    return [(pair.route, pair.identity, pair.control_route, pair.control_identity) for pair in change.pairs()]


def _pair(route: str, identity: str, control_route: str, control_identity: str) -> str:
    return f"{route} as {identity}; control: {control_route} as {control_identity}, which the change cannot affect"


def _requirement(judge: Judge) -> list[str]:
    return [
        f"{judge.require}: {REQUIREMENTS[judge.require]}, by a margin of {judge.margin:.0%}",
        f"if regressed: {judge.on_regressed}; if inconclusive: {judge.on_inconclusive}",
    ]


def _of_backfill(backfill: Backfill) -> list[tuple[str, list[str]]]:
    health, batch = backfill.health, backfill.batch
    rows = [f"the rows of the file {backfill.csv.file}"] if backfill.csv else [backfill.where or "every row"]
    limits = [
        f"a transaction is older than {health.longest_transaction_s:g} s" if health.longest_transaction_s else "",
        f"replication lags by more than {health.replication_lag_s:g} s" if health.replication_lag_s else "",
        "autovacuum is processing the table" if health.wait_for_autovacuum else "",
        f"{health.route} takes longer than {health.latency_ms:g} ms" if health.route else "",
    ]
    return [
        ("sets", [f"{column} = {expression}" for column, expression in backfill.assign.items()]),
        ("table", [f"{backfill.table}, in the order of {backfill.key}"]),
        ("rows", rows),
        ("batches", [f"{batch.smallest:,} to {batch.largest:,} rows each, running {batch.load:.0%} of the time"]),
        ("waits while", [line for line in limits if line]),
        ("skips", [f"up to {backfill.max_bad_rows:,} bad rows"] if backfill.max_bad_rows else []),
    ]
