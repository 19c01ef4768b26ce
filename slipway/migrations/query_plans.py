"""Compare query plans before and after a change: new sequential scans, higher costs, queries that fail. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.core.finding import Finding, Level
from slipway.databases.catalog import LARGE_ROWS, PlanChange, PlanNode, QueryPlan, TableSize
from slipway.databases.sizes import format_rows, large_tables

COST_FACTOR = 2.0  # costs differ by less if only the statistics changed
SEQ_SCAN = "Seq Scan"
BITMAP_HEAP = "Bitmap Heap Scan"  # its child nodes name the indexes
READS_ALL = (
    "A sequential scan reads the whole table even if the query needs few rows, and takes longer as the table grows. An index "
    "for the query's condition lets it read only the rows it needs."
)
COST = "The cost is the planner's estimate in its own unit, not a time. The measurement after the migration shows the time."
NOT_CHECKED = "The query was not checked. Write it as the server accepts it, with $1 for a parameter."
BROKEN = "The service would get this error as soon as the migration has run."


def plan_findings(
    before: Sequence[QueryPlan],
    after: Sequence[QueryPlan],
    tables: Sequence[TableSize],
    *,
    large_rows: int = LARGE_ROWS,
    cost_factor: float = COST_FACTOR,
) -> tuple[Finding, ...]:
    """Return the findings about each query's plan, in the order of `after`; an error stops the change.

    `before` and `after` are the plans of the same queries in the same order. Costs are compared only for queries on a
    table of at least `large_rows` rows. A query that cannot be planned before the migration, because it uses a new
    object, is judged by its plan after it. A query that can never be planned is reported as not checked.
    """
    large = large_tables(tables, large_rows)
    findings: list[Finding] = []
    for old, new in zip(before, after, strict=True):
        findings.extend(_judge(new, large) if old.error else _compare(old, new, large, cost_factor))
    return tuple(findings)


def plan_changes(before: Sequence[QueryPlan], after: Sequence[QueryPlan]) -> tuple[PlanChange, ...]:
    """Return one entry per query, in the order of `after`: its costs, and its access to each table before and after."""
    return tuple(
        PlanChange(
            query=new.query,
            cost_before=None if old.error else old.cost,
            cost_after=None if new.error else new.cost,
            reads=_reads(old, new),
        )
        for old, new in zip(before, after, strict=True)
    )


def _reads(old: QueryPlan, new: QueryPlan) -> str:
    lines = []
    for table in dict.fromkeys(node.table for plan in (old, new) for node in plan.nodes if node.table):
        before, after = _access(old, table), _access(new, table)
        lines.append(f"{table}: {after}" if before == after else f"{table}: {before}, now {after}")
    return "; ".join(lines) or new.error


def _judge(plan: QueryPlan, large: dict[str, int]) -> list[Finding]:
    if plan.error:
        summary = f"{plan.query} cannot be planned before or after the change: {plan.error}."
        return [_finding("plan-unknown", "warning", summary, NOT_CHECKED)]
    return [
        _finding("plan-seq-scan", "error", f"{plan.query} reads all {format_rows(large[table])} of {table}.", READS_ALL)
        for table in _scanned(plan)
        if table in large
    ]


def _compare(old: QueryPlan, new: QueryPlan, large: dict[str, int], cost_factor: float) -> list[Finding]:
    if new.error:
        return [
            _finding("plan-failed", "error", f"{new.query} cannot be planned after the change: {new.error}.", BROKEN)
        ]
    scanned = [table for table in _scanned(new) if table in large and table not in _scanned(old)]
    findings = [
        _finding("plan-seq-scan", "error", _scan(old, new, table, large[table]), READS_ALL) for table in scanned
    ]
    tables = {node.table for plan in (old, new) for node in plan.nodes}
    if tables.isdisjoint(large):
        return findings
    if new.cost > old.cost * cost_factor and not findings:
        findings.append(_finding("plan-cost-grew", "error", _costs(old, new, "more expensive"), COST))
    elif new.cost * cost_factor < old.cost:
        findings.append(_finding("plan-improved", "info", _costs(old, new, "cheaper"), COST))
    return findings


def _scanned(plan: QueryPlan) -> dict[str, None]:
    return {node.table: None for node in plan.nodes if node.type == SEQ_SCAN}


def _scan(old: QueryPlan, new: QueryPlan, table: str, rows: int) -> str:
    return (
        f"{new.query} reads all {format_rows(rows)} of {table} in a sequential scan after the change; before the change: "
        f"{_access(old, table)}. Its cost changes from {old.cost:,.0f} to {new.cost:,.0f}."
    )


def _costs(old: QueryPlan, new: QueryPlan, trend: str) -> str:
    changed = [
        f"{table}: {_access(old, table)} before the change, {_access(new, table)} after it"
        for table in dict.fromkeys(node.table for plan in (old, new) for node in plan.nodes if node.table)
        if _access(old, table) != _access(new, table)
    ]
    reason = "; ".join(changed) or "the plan is the same, but its estimates changed"
    return f"{new.query} becomes {trend}: its cost changes from {old.cost:,.0f} to {new.cost:,.0f} ({reason})."


def _access(plan: QueryPlan, table: str) -> str:
    """Return the access of a plan to a table, for people."""
    accesses = [_node_access(node) for node in plan.nodes if node.table == table and node.type != BITMAP_HEAP]
    return " and ".join(dict.fromkeys(accesses)) or "not read"


def _node_access(node: PlanNode) -> str:
    if node.type == SEQ_SCAN:
        return "sequential scan"
    if node.index:
        return f"index {node.index}"
    return "write" if node.type == "ModifyTable" else node.type


def _finding(code: str, level: Level, summary: str, explanation: str) -> Finding:
    return Finding(code=code, level=level, summary=summary, explanation=explanation)
