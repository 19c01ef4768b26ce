"""The record: the final note of a run as Markdown, rendered from what the steps left behind. Pure."""

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
from slipway.shipping.rehearsal_report import cell, command_table, findings, rehearsal_tables, rehearsed

PICTURES = ("before-after.svg", "before-after.staging.svg")
DONE = {"keep": "Kept", "roll back": "Rolled back", "freeze": "Frozen: a person has to decide", "reject": "Rejected"}


class ShipReport(FrozenModel):
    """Everything that a record of `ship-change` tells; what a run did not come to is None."""

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
    decision: Decision | None = None  # while the run is on its way
    reverted: Reverted | None = None
    purged_again: Purged | None = None
    restored: Verdict | None = None

    @property
    def watched(self) -> tuple[MonitorResult, ...]:
        """What visitors met during the steps that changed something, in their order."""
        steps = (self.migration, self.purged)
        return tuple(step.watched for step in steps if step is not None and step.watched is not None)

    @property
    def decided(self) -> Decision:
        """The decision of a run that has come to one."""
        assert self.decision is not None, "a record is written once a decision has been made"
        return self.decision


def record_name(plan: Plan) -> str:
    """The file beside the change that its record is written to."""
    return "record.staging.md" if plan.on_staging else "record.md"


def picture_name(plan: Plan) -> str:
    """The file beside the change that the record's picture is written to."""
    return PICTURES[plan.on_staging]


def render(story: ShipReport) -> str:
    """The whole record as Markdown."""
    return "\n".join([*_head(story), *_result(story), *_steps(story), *_foot(story)]) + "\n"


def _head(story: ShipReport) -> list[str]:
    plan = story.plan
    return [
        f"# {plan.name}: {DONE[story.decided.word].lower()}",
        "",
        f"{story.decided.reason}",
        "",
        "| | |",
        "|---|---|",
        f"| service | {plan.service.name} |",
        f"| owner | {cell(plan.change.owner)} |",
        f"| reason | {cell(plan.change.reason)} |",
        f"| expected | {cell(plan.change.expected)} |",
        f"| measured | {cell(_measured(story.verdict))} |",
        f"| verdict | {story.verdict.verdict if story.verdict else 'none: not measured again'} |",
        f"| decision | {story.decided.word} |",
        *_staging_row(story.staged),
        *_approval_row(story.approval),
        f"| rollback note | {cell(plan.change.rollback)} |",
        f"| run | {story.run_id}, {story.at:%Y-%m-%d %H:%M} UTC |",
        f"| change file | sha256 {plan.digest[:16]}, {cell(plan.commit) or 'not in a commit yet'} |",
        "",
    ]


def _staging_row(staged: Staged | None) -> list[str]:
    if staged is None:
        return []
    kept = f"kept on {staged.service} by run {staged.kept_by}, {staged.kept_at:%Y-%m-%d %H:%M} UTC"
    back = f"rolled back there by run {staged.rolled_back_by}, {staged.rolled_back_at:%Y-%m-%d %H:%M} UTC"
    return [f"| staging | {kept}; {back}: [record](record.staging.md) |"]


def _approval_row(approval: Approval | None) -> list[str]:
    if approval is None:
        return []
    word = "approved" if approval.approved else "rejected"
    return [f"| approval | {word} by {cell(approval.by)}: {cell(approval.why)} |"]


def _measured(verdict: Verdict | None) -> str:
    return "nothing" if verdict is None else " ".join(target.sentence for target in verdict.targets)


def _result(story: ShipReport) -> list[str]:
    if story.verdict is None:
        return []
    return [
        "## Before and after",
        "",
        f"![Latency before and after]({picture_name(story.plan)})",
        "",
        *verdict_table(story.verdict),
        "",
    ]


def verdict_table(verdict: Verdict) -> list[str]:
    """The numbers behind a verdict as a Markdown table, one line a target."""
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


def _steps(story: ShipReport) -> list[str]:
    lines = ["## What was done", ""]
    lines += [f"- Inspected: {len(story.findings)} findings, {_worst(story.findings)}."]
    lines += _window_line("Measured before the change", story.before)
    lines += [f"- Rehearsed: {rehearsed(story.rehearsal)}"]
    if story.plan.leaving is not None:
        lines += [f"- To leave the cache, as planned: {story.plan.leaving.sentence}"]
    lines += [f"- Migrated: {_moved(story)}"]
    lines += purge_lines("Purged", story.purged)
    lines += [f"- {sentence(watched)}" for watched in story.watched]
    lines += _window_line("Measured after the change", story.after)
    if story.reverted is not None:
        lines += [f"- Rolled back: {story.reverted.sentence}"]
        lines += purge_lines("Purged again", story.purged_again)
        lines += [f"- Measured after the roll back, against before the change: {_back(story.restored)}"]
    noticed = (*story.findings, *_besides(story))
    told = [finding for finding in noticed if finding.level != "info"]  # of each page there is one that is well
    report = [*findings((*told, *story.rehearsal.findings)), *rehearsal_tables(story.rehearsal)]
    return [*lines, "", *report, *command_table(_commands(story)), ""]


def _window_line(word: str, window: MeasuredWindow | None) -> list[str]:
    if window is None:
        return []
    sentences = [f"{window.bursts} bursts in {window.seconds:.0f} s.", *remarks(window)]
    return [f"- {word}: {' '.join(sentences)}"]


def _besides(story: ShipReport) -> list[Finding]:
    return [finding for purged in (story.purged, story.purged_again) if purged for finding in purged.findings]


def _worst(findings: Sequence[Finding]) -> str:
    warnings = sum(finding.level == "warning" for finding in findings)
    return f"{warnings} of them warnings" if warnings else "none of them a warning"


def _moved(story: ShipReport) -> str:
    migration = story.migration
    if story.plan.change.migrate is None:
        return "nothing, the change has no migration."
    if migration is None:
        return "not by this run to its end."
    if not migration.acted:
        return f"nothing, the database already stood at {migration.after}."
    blocked = f" It was kept from a lock by {'; '.join(migration.blocked_by)}." if migration.blocked_by else ""
    mended = f" Left invalid by an earlier try, and dropped: {', '.join(migration.mended)}." if migration.mended else ""
    return f"from {migration.before} to {migration.after}.{blocked}{mended}"


def purge_lines(word: str, purged: Purged | None) -> list[str]:
    """What a purge removed and what reading showed, as Markdown list lines."""
    if purged is None:
        return [f"- {word}: nothing."]
    named = ", ".join([*purged.routes, *(f"tag {tag}" for tag in purged.tags)]) or "nothing"
    lines = [f"- {word}: {named}, twice, in {purged.seconds:.1f} s."]
    lines += [f"  - affected {_reading(reading)}" for reading in purged.affected]
    return lines + [f"  - control {_reading(reading)}{_evicted(reading)}" for reading in purged.controls]


def _reading(reading: RouteReading) -> str:
    return f"{reading.page}: first read {reading.first}, second {reading.second}"


def _evicted(reading: RouteReading) -> str:
    return " (had left the cache, too)" if reading.evicted else ""


def _back(verdict: Verdict | None) -> str:
    return "not measured." if verdict is None else f"{verdict.verdict}. {_measured(verdict)}"


def _commands(story: ShipReport) -> list[CommandRun]:
    moved = [story.migration, story.reverted.migration if story.reverted else None]
    ran = [*story.plan.commands, *story.rehearsal.commands]
    return ran + [command for migration in moved if migration for command in migration.commands]


def rolled_back_later(reverted: Reverted, purged: Purged | None) -> str:
    """What a roll back by hand did, to stand behind the record."""
    commands = reverted.migration.commands if reverted.migration else ()
    lines = [f"- Rolled back: {reverted.sentence}", *purge_lines("Purged", purged), "", *command_table(commands)]
    return "\n".join(lines)


def _foot(story: ShipReport) -> list[str]:
    plan = story.plan
    return [
        "## Files touched",
        "",
        *(f"- {file}" for file in plan.files or ("unknown: the change is not in a git repository",)),
        "",
        "## Assumptions",
        "",
        *(f"- {line}" for line in _assumptions(story)),
        "",
        "## Way back",
        "",
        *_way_back(story),
    ]


def _assumptions(story: ShipReport) -> list[str]:
    window = story.before
    controls = ", ".join(dict.fromkeys(f"{p.control_route} as {p.control_identity}" for p in story.plan.change.pairs()))
    return [
        f"The change does not touch the control: {controls}.",
        f"{window.bursts} bursts of {window.requests} requests a route in {window.seconds:.0f} s stand for real traffic.",
        "The test users see what real users see.",
        "What the database holds now is like what was copied for the rehearsal.",
    ]


def _way_back(story: ShipReport) -> list[str]:
    if story.decided.word == "roll back":
        return ["It was taken; nothing is left to do."]
    if story.decided.word == "reject":
        return ["Nothing was changed; nothing is left to do."]
    return [f"    {story.plan.way_back}"]
