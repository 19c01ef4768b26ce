"""Render the record of a run as Markdown, from the return values of its steps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from slipway.caching.outcomes import Purged, RouteReading
from slipway.config.plan import Plan
from slipway.core.commands import CommandRun
from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.measurement.monitor_summary import sentence
from slipway.measurement.samples import Interval, MeasuredWindow, MonitorResult, TargetVerdict, Verdict
from slipway.measurement.warm_up import remarks
from slipway.migrations.outcomes import Migration, Rehearsal, Reverted
from slipway.shipping.outcomes import Approval, Decision, Staged
from slipway.shipping.rehearsal_report import cell, command_table, findings, format_rehearsal, rehearsal_tables

PICTURES = ("before-after.svg", "before-after.staging.svg")
DONE = {
    "keep": "Kept",
    "roll back": "Rolled back",
    "freeze": "Frozen: waiting for a person's decision",
    "reject": "Rejected",
}


class ShipReport(FrozenModel):
    """Everything that the record of a `ship-change` run shows; a step that did not run is None."""

    run_id: str
    at: datetime
    plan: Plan
    findings: tuple[Finding, ...]
    rehearsal: Rehearsal
    before: MeasuredWindow
    staged: Staged | None = None
    approval: Approval | None = None
    after: MeasuredWindow | None = None
    migration: Migration | None = None
    purged: Purged | None = None
    verdict: Verdict | None = None
    decision: Decision | None = None  # None before the decision
    reverted: Reverted | None = None
    purged_again: Purged | None = None
    restored: Verdict | None = None

    @property
    def watched(self) -> tuple[MonitorResult, ...]:
        """The monitor results of the steps that changed something, in their order."""
        steps = (self.migration, self.purged)
        return tuple(step.watched for step in steps if step is not None and step.watched is not None)

    @property
    def decided(self) -> Decision:
        """The decision of the run; there must be one."""
        assert self.decision is not None, "a record is written only after the decision"
        return self.decision


def record_name(plan: Plan) -> str:
    """Return the file name of the record, in the folder of the change."""
    return "record.staging.md" if plan.on_staging else "record.md"


def picture_name(plan: Plan) -> str:
    """Return the file name of the record's chart, in the folder of the change."""
    return PICTURES[plan.on_staging]


def render(report: ShipReport) -> str:
    """Return the whole record as Markdown."""
    return "\n".join([*_head(report), *_result(report), *_steps(report), *_foot(report)]) + "\n"


def _head(report: ShipReport) -> list[str]:
    plan = report.plan
    return [
        f"# {plan.name}: {DONE[report.decided.word].lower()}",
        "",
        f"{report.decided.reason}",
        "",
        "| | |",
        "|---|---|",
        f"| service | {plan.service.name} |",
        f"| owner | {cell(plan.change.owner)} |",
        f"| reason | {cell(plan.change.reason)} |",
        f"| expected | {cell(plan.change.expected)} |",
        f"| measured | {cell(_measured(report.verdict))} |",
        f"| verdict | {report.verdict.verdict if report.verdict else 'none: there was no second measurement'} |",
        f"| decision | {report.decided.word} |",
        *_staging_row(report.staged),
        *_approval_row(report.approval),
        f"| rollback note | {cell(plan.change.rollback)} |",
        f"| run | {report.run_id}, {report.at:%Y-%m-%d %H:%M} UTC |",
        f"| change file | sha256 {plan.digest[:16]}, {cell(plan.commit) or 'not committed'} |",
        "",
    ]


def _staging_row(staged: Staged | None) -> list[str]:
    if staged is None:
        return []
    kept = f"kept on {staged.service} by run {staged.kept_by}, {staged.kept_at:%Y-%m-%d %H:%M} UTC"
    rolled_back = f"rolled back there by run {staged.rolled_back_by}, {staged.rolled_back_at:%Y-%m-%d %H:%M} UTC"
    return [f"| staging | {kept}; {rolled_back}: [record](record.staging.md) |"]


def _approval_row(approval: Approval | None) -> list[str]:
    if approval is None:
        return []
    answer = "approved" if approval.approved else "rejected"
    return [f"| approval | {answer} by {cell(approval.by)}: {cell(approval.why)} |"]


def _measured(verdict: Verdict | None) -> str:
    return "nothing" if verdict is None else " ".join(target.sentence for target in verdict.targets)


def _result(report: ShipReport) -> list[str]:
    if report.verdict is None:
        return []
    return [
        "## Before and after",
        "",
        f"![Latency before and after]({picture_name(report.plan)})",
        "",
        *verdict_table(report.verdict),
        "",
    ]


def verdict_table(verdict: Verdict) -> list[str]:
    """Return the numbers of a verdict as a Markdown table with one row per target."""
    rows = [
        "| target | cache | median before → after | ratio (interval) | p90 before → after | samples lost | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    return rows + [_target_row(target) for target in verdict.targets]


def _target_row(target: TargetVerdict) -> str:
    cells = [
        f"{target.route} as {target.identity}",
        target.cache or "unknown",
        _times(target.median_before_ms, target.median_after_ms),
        _interval(target.median),
        _times(target.p90_before_ms, target.p90_after_ms),
        f"{target.errors_before} before, {target.errors_after} after",
        target.verdict,
    ]
    return f"| {' | '.join(cell(text) for text in cells)} |"


def _times(before: float | None, after: float | None) -> str:
    return "not enough samples" if before is None or after is None else f"{before:.2f} → {after:.2f} ms"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "none"
    return f"{interval.ratio:.3f} ({interval.low:.3f} to {interval.high:.3f} at {interval.confidence:.0%})"


def _steps(report: ShipReport) -> list[str]:
    lines = ["## What was done", ""]
    lines += [f"- Inspected: {len(report.findings)} findings, {_worst(report.findings)}."]
    lines += _window_line("Measured before the change", report.before)
    lines += [f"- Rehearsed: {format_rehearsal(report.rehearsal)}"]
    if report.plan.leaving is not None:
        lines += [f"- Planned purge: {report.plan.leaving.sentence}"]
    lines += [f"- Migrated: {_migrated(report)}"]
    lines += purge_lines("Purged", report.purged)
    lines += [f"- {sentence(watched)}" for watched in report.watched]
    lines += _window_line("Measured after the change", report.after)
    if report.reverted is not None:
        lines += [f"- Rolled back: {report.reverted.sentence}"]
        lines += purge_lines("Purged again", report.purged_again)
        lines += [f"- Measured after the rollback, compared with before the change: {_restored(report.restored)}"]
    all_findings = (*report.findings, *_purge_findings(report))
    notable = [finding for finding in all_findings if finding.level != "info"]  # each page has a finding of level info
    sections = [*findings((*notable, *report.rehearsal.findings)), *rehearsal_tables(report.rehearsal)]
    return [*lines, "", *sections, *command_table(_commands(report)), ""]


def _window_line(label: str, window: MeasuredWindow | None) -> list[str]:
    if window is None:
        return []
    sentences = [f"{window.bursts} bursts in {window.seconds:.0f} s.", *remarks(window)]
    return [f"- {label}: {' '.join(sentences)}"]


def _purge_findings(report: ShipReport) -> list[Finding]:
    return [finding for purged in (report.purged, report.purged_again) if purged for finding in purged.findings]


def _worst(findings: Sequence[Finding]) -> str:
    warnings = sum(finding.level == "warning" for finding in findings)
    return f"{warnings} of them warnings" if warnings else "no warnings"


def _migrated(report: ShipReport) -> str:
    migration = report.migration
    if report.plan.change.migrate is None:
        return "nothing; the change has no migration."
    if migration is None:
        return "the migration did not finish in this run."
    if not migration.acted:
        return f"nothing; the database was already at revision {migration.after}."
    blocked = (
        f" The migration waited for locks held by {'; '.join(migration.blocked_by)}." if migration.blocked_by else ""
    )
    dropped = (
        f" Invalid indexes of an earlier attempt were dropped: {', '.join(migration.mended)}."
        if migration.mended
        else ""
    )
    return f"from revision {migration.before} to {migration.after}.{blocked}{dropped}"


def purge_lines(label: str, purged: Purged | None) -> list[str]:
    """Return the purged routes and tags, and the reads after the purge, as Markdown list lines."""
    if purged is None:
        return [f"- {label}: nothing."]
    names = ", ".join([*purged.routes, *(f"tag {tag}" for tag in purged.tags)]) or "nothing"
    lines = [f"- {label}: {names}, twice, in {purged.seconds:.1f} s."]
    lines += [f"  - affected {_reading(reading)}" for reading in purged.affected]
    return lines + [f"  - control {_reading(reading)}{_evicted(reading)}" for reading in purged.controls]


def _reading(reading: RouteReading) -> str:
    return f"{reading.page}: first read {reading.first}, second {reading.second}"


def _evicted(reading: RouteReading) -> str:
    return " (also left the cache)" if reading.evicted else ""


def _restored(verdict: Verdict | None) -> str:
    return "not measured." if verdict is None else f"{verdict.verdict}. {_measured(verdict)}"


def _commands(report: ShipReport) -> list[CommandRun]:
    migrations = [report.migration, report.reverted.migration if report.reverted else None]
    commands = [*report.plan.commands, *report.rehearsal.commands]
    return commands + [command for migration in migrations if migration for command in migration.commands]


def rolled_back_later(reverted: Reverted, purged: Purged | None) -> str:
    """Return what a manual rollback did, as Markdown to append to the record."""
    commands = reverted.migration.commands if reverted.migration else ()
    lines = [f"- Rolled back: {reverted.sentence}", *purge_lines("Purged", purged), "", *command_table(commands)]
    return "\n".join(lines)


def _foot(report: ShipReport) -> list[str]:
    plan = report.plan
    return [
        "## Files touched",
        "",
        *(f"- {file}" for file in plan.files or ("unknown: the change is not in a git repository",)),
        "",
        "## Assumptions",
        "",
        *(f"- {line}" for line in _assumptions(report)),
        "",
        "## Rollback",
        "",
        *_rollback(report),
    ]


def _assumptions(report: ShipReport) -> list[str]:
    window = report.before
    controls = ", ".join(
        dict.fromkeys(f"{p.control_route} as {p.control_identity}" for p in report.plan.change.pairs())
    )
    return [
        f"The change does not affect the control: {controls}.",
        f"{window.bursts} bursts of {window.requests} requests per route in {window.seconds:.0f} s represent real traffic.",
        "The test users see what real users see.",
        "The live data is still similar to the copy that the rehearsal used.",
    ]


def _rollback(report: ShipReport) -> list[str]:
    if report.decided.word == "roll back":
        return ["The change was rolled back. No action is needed."]
    if report.decided.word == "reject":
        return ["Nothing was changed. No action is needed."]
    return [f"    {report.plan.rollback_command}"]
