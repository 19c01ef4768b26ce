"""Render a rehearsal as Markdown: the parts that the record shows, and the whole report for the Prefect UI. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway.core.commands import CommandRun
from slipway.core.finding import Finding
from slipway.measurement.history import Trend
from slipway.migrations.outcomes import Rehearsal

LEVELS = ("error", "warning", "info")


def report(rehearsal: Rehearsal) -> str:
    """Return the whole report of a rehearsal."""
    summary = format_rehearsal(rehearsal)
    lines = ["# Rehearsal", "", summary[:1].upper() + summary[1:], ""]
    lines += findings(rehearsal.findings)
    lines += [*rehearsal_tables(rehearsal), *command_table(rehearsal.commands)]
    return "\n".join(lines) + "\n"


def format_rehearsal(rehearsal: Rehearsal) -> str:
    """Return what the rehearsal did and showed, as text that follows "Rehearsed: "."""
    if rehearsal.reversibility == "nothing to migrate":
        return "nothing; the change has no migration."
    return (
        f"on a copy of {rehearsal.copy_bytes / 1e6:.0f} MB made in {rehearsal.copy_seconds:.1f} s; upgrade "
        f"{rehearsal.upgrade_seconds:.1f} s, downgrade {rehearsal.downgrade_seconds:.1f} s. {format_reversibility(rehearsal)}"
    )


def format_reversibility(rehearsal: Rehearsal) -> str:
    """Return, as a sentence, whether the rehearsed downgrade restores everything."""
    if rehearsal.reversibility == "nothing to migrate":
        return "The change has no migration."
    if rehearsal.reversibility == "lossless":
        return f"The downgrade is lossless: the schema and all {rehearsal.rows:,} rows are as before."
    losses = "; ".join(rehearsal.losses)
    return {
        "lossy": f"The downgrade does not restore everything: {losses}.",
        "does nothing": f"The downgrade changes nothing: {losses}.",
        "fails": f"The downgrade fails: {losses}",
    }[rehearsal.reversibility]


def findings(items: Sequence[Finding]) -> list[str]:
    """Return the findings as a Markdown list, errors first; empty if there are none."""
    if not items:
        return []
    ordered = sorted(items, key=lambda finding: LEVELS.index(finding.level))
    return ["## Findings", "", *(f"- {f.level}: {f.summary} {f.explanation}" for f in ordered), ""]


def rehearsal_tables(rehearsal: Rehearsal) -> list[str]:
    """Return the table of query plans before and after, and the table of the upgrade's statements."""
    return [*plan_table(rehearsal), *statement_table(rehearsal)]


def trend_report(trend: Trend) -> str:
    """Return a service's history: the series that drifted, a table of all series, and the changes."""
    lines = [f"# {trend.service}: history", ""]
    lines += [f"- {series.sentence}" for series in trend.series if series.drifted]
    lines += ["", "| measured | windows | baseline | newest | state |", "|---|---|---|---|---|"]
    lines += [
        f"| {cell(series.name)} | {series.windows} | {_ms(series.baseline_ms)} | {_ms(series.newest_ms)} | "
        f"{series.drifted or ('as before' if series.baseline_ms is not None else 'no baseline yet')} |"
        for series in trend.series
    ]
    marks = [f"- {mark.at:%Y-%m-%d %H:%M} UTC: {mark.change} {mark.came_of_it}" for mark in trend.marks]
    return "\n".join([*lines, "", *(["## Changes", "", *marks, ""] if marks else [])])


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ms"


def plan_table(rehearsal: Rehearsal) -> list[str]:
    """Return the planned queries with their costs and access paths before and after; empty if there are none."""
    if not rehearsal.plans:
        return []
    rows = ["| query | cost before → after | access path |", "|---|---|---|"]
    for plan in rehearsal.plans:
        costs = f"{_cost(plan.cost_before)} → {_cost(plan.cost_after)}"
        rows.append(f"| `{cell(plan.query)}` | {costs} | {cell(plan.reads)} |")
    return ["## Plans of the queries", "", *rows, ""]


def _cost(cost: float | None) -> str:
    return "no plan" if cost is None else f"{cost:,.0f}"


def statement_table(rehearsal: Rehearsal) -> list[str]:
    """Return the statements of the upgrade with time, rows and locks; empty if there are none."""
    if not rehearsal.statements:
        return []
    rows = ["| statement | calls | time | rows | locks |", "|---|---|---|---|---|"]
    for statement in rehearsal.statements:
        locks = ", ".join(f"{lock.mode} on {lock.table} for {lock.held_s:.2f} s" for lock in statement.locks)
        count = "" if statement.rows is None else f"{statement.rows:,}"
        rows.append(
            f"| `{cell(statement.sql)}` | {statement.calls} | {statement.seconds:.3f} s | {count} | {cell(locks)} |"
        )
    verb = "shrank" if rehearsal.grown_bytes < 0 else "grew"
    size = f"Tables and indexes {verb} by {abs(rehearsal.grown_bytes) / 1e6:.1f} MB."
    return ["## Statements of the upgrade", "", *rows, "", size, ""]


def command_table(commands: Iterable[CommandRun]) -> list[str]:
    """Return the commands that were run, with their times and exit codes; empty if there are none."""
    rows = [f"| `{cell(' '.join(ran.argv))}` | {ran.seconds:.2f} s | {ran.exit_code} |" for ran in commands]
    return ["## Commands", "", "| command | time | exit code |", "|---|---|---|", *rows] if rows else []


def cell(text: str) -> str:
    """Return text escaped for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
