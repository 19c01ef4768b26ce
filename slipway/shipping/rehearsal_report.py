"""A rehearsal in Markdown: what the record says of it, and the whole report for the Prefect UI. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway.core.commands import CommandRun
from slipway.core.finding import Finding
from slipway.measurement.history import Trend
from slipway.migrations.outcomes import Rehearsal

LEVELS = ("error", "warning", "info")


def report(rehearsal: Rehearsal) -> str:
    """The whole report of a rehearsal."""
    words = rehearsed(rehearsal)
    lines = ["# Rehearsal", "", words[:1].upper() + words[1:], ""]
    lines += findings(rehearsal.findings)
    lines += [*rehearsal_tables(rehearsal), *command_table(rehearsal.commands)]
    return "\n".join(lines) + "\n"


def rehearsed(rehearsal: Rehearsal) -> str:
    """What was done and what it showed, in words that stand behind a name."""
    if rehearsal.reversibility == "nothing to migrate":
        return "nothing, the change has no migration."
    return (
        f"on a copy of {rehearsal.copy_bytes / 1e6:.0f} MB made in {rehearsal.copy_seconds:.1f} s; upgrade "
        f"{rehearsal.upgrade_seconds:.1f} s, downgrade {rehearsal.downgrade_seconds:.1f} s. {way_back_words(rehearsal)}"
    )


def way_back_words(rehearsal: Rehearsal) -> str:
    """What the rehearsed way back is worth, in a sentence."""
    if rehearsal.reversibility == "nothing to migrate":
        return "The change has no migration."
    if rehearsal.reversibility == "lossless":
        return f"The way back is lossless: the schema and all {rehearsal.rows:,} rows are as before."
    lost = "; ".join(rehearsal.losses)
    return {
        "lossy": f"The way back loses something: {lost}.",
        "does nothing": f"The way back does nothing: {lost}.",
        "fails": f"The way back fails: {lost}",
    }[rehearsal.reversibility]


def findings(found: Sequence[Finding]) -> list[str]:
    """Findings as a list, the gravest first; empty without any."""
    if not found:
        return []
    ordered = sorted(found, key=lambda finding: LEVELS.index(finding.level))
    return ["## Findings", "", *(f"- {f.level}: {f.summary} {f.explanation}" for f in ordered), ""]


def rehearsal_tables(rehearsal: Rehearsal) -> list[str]:
    """The plans before and after, and the statements of the upgrade."""
    return [*plan_table(rehearsal), *statement_table(rehearsal)]


def trend_report(trend: Trend) -> str:
    """A service's history: what has drifted, every series in a table, and the changes beside them."""
    lines = [f"# {trend.service}: history", ""]
    lines += [f"- {series.sentence}" for series in trend.series if series.drifted]
    lines += ["", "| measured | windows | baseline | newest | how it is |", "|---|---|---|---|---|"]
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
    """The queries that were planned before and after, with cost and access; empty without any."""
    if not rehearsal.plans:
        return []
    rows = ["| query | cost before → after | how it reads |", "|---|---|---|"]
    for plan in rehearsal.plans:
        costs = f"{_cost(plan.cost_before)} → {_cost(plan.cost_after)}"
        rows.append(f"| `{cell(plan.query)}` | {costs} | {cell(plan.reads)} |")
    return ["## Plans of the queries", "", *rows, ""]


def _cost(cost: float | None) -> str:
    return "no plan" if cost is None else f"{cost:,.0f}"


def statement_table(rehearsal: Rehearsal) -> list[str]:
    """The statements of the upgrade with time, rows and locks; empty without any."""
    if not rehearsal.statements:
        return []
    rows = ["| statement | calls | time | rows | locks |", "|---|---|---|---|---|"]
    for ran in rehearsal.statements:
        locks = ", ".join(f"{lock.mode} on {lock.table} for {lock.held_s:.2f} s" for lock in ran.locks)
        told = "" if ran.rows is None else f"{ran.rows:,}"
        rows.append(f"| `{cell(ran.sql)}` | {ran.calls} | {ran.seconds:.3f} s | {told} | {cell(locks)} |")
    grown = f"All tables and indexes grew by {rehearsal.grown_bytes / 1e6:+.1f} MB."
    return ["## Statements of the upgrade", "", *rows, "", grown, ""]


def command_table(commands: Iterable[CommandRun]) -> list[str]:
    """The commands that were run, with their times; empty without any."""
    rows = [f"| `{cell(' '.join(ran.argv))}` | {ran.seconds:.2f} s | {ran.exit_code} |" for ran in commands]
    return ["## Commands", "", "| command | time | exit code |", "|---|---|---|", *rows] if rows else []


def cell(text: str) -> str:
    """Text as it may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")
