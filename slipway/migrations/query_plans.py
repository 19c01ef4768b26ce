"""How a change alters plans: a new sequential scan over a large table, a cost that grew, a query that plans no more. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.core.finding import Finding, Level
from slipway.databases.catalog import LARGE_ROWS, PlanChange, PlanNode, QueryPlan, TableSize
from slipway.databases.sizes import large_tables, rows_in_words

COST_FACTOR = 2.0  # plans of one query differ by less when only the statistics have moved
SCANS = "Seq Scan"
BITMAP_HEAP = "Bitmap Heap Scan"  # the indexes that it reads stand below it
READS_ALL = (
    "A sequential scan reads the whole table, however few rows are wanted, and grows with it. An index for the query's "
    "condition lets it read only those."
)
DEARER = (
    "The cost is the planner's estimate in its own unit, no time; the measurement after the migration tells the time."
)
UNSEEN = "Nothing can be said of it; write it as the server takes it, with $1 for a parameter."
BROKEN = "The service would get this error from the moment of the migration on."


def plan_findings(
    before: Sequence[QueryPlan],
    after: Sequence[QueryPlan],
    tables: Sequence[TableSize],
    *,
    large_rows: int = LARGE_ROWS,
    cost_factor: float = COST_FACTOR,
) -> tuple[Finding, ...]:
    """What became of each query's plan, in the order of `after`; an error is a gate.

    `before` and `after` are the plans of the same queries in the same order. Only queries that touch a table of at
    least `large_rows` rows are held to their cost. A query that could not be planned before, as it asks for what the
    migration makes, is looked at as it is after; one that never can be is told, as nothing was seen of it.
    """
    large = large_tables(tables, large_rows)
    found: list[Finding] = []
    for was, now in zip(before, after, strict=True):
        found.extend(_alone(now, large) if was.error else _compare(was, now, large, cost_factor))
    return tuple(found)


def plan_changes(before: Sequence[QueryPlan], after: Sequence[QueryPlan]) -> tuple[PlanChange, ...]:
    """One line a query, in the order of `after`: its costs, and how it reads each table, then and now."""
    return tuple(
        PlanChange(
            query=now.query,
            cost_before=None if was.error else was.cost,
            cost_after=None if now.error else now.cost,
            reads=_reads(was, now),
        )
        for was, now in zip(before, after, strict=True)
    )


def _reads(was: QueryPlan, now: QueryPlan) -> str:
    told = []
    for table in dict.fromkeys(node.table for plan in (was, now) for node in plan.nodes if node.table):
        then, since = _access(was, table), _access(now, table)
        told.append(f"{table}: {since}" if then == since else f"{table}: {then}, now {since}")
    return "; ".join(told) or now.error


def _alone(now: QueryPlan, large: dict[str, int]) -> list[Finding]:
    if now.error:
        told = f"{now.query} can be planned neither before nor after the change: {now.error}."
        return [_finding("plan-unknown", "warning", told, UNSEEN)]
    return [
        _finding(
            "plan-seq-scan", "error", f"{now.query} reads all {rows_in_words(large[table])} of {table}.", READS_ALL
        )
        for table in _scanned(now)
        if table in large
    ]


def _compare(was: QueryPlan, now: QueryPlan, large: dict[str, int], cost_factor: float) -> list[Finding]:
    if now.error:
        return [
            _finding("plan-failed", "error", f"{now.query} cannot be planned after the change: {now.error}.", BROKEN)
        ]
    scanned = [table for table in _scanned(now) if table in large and table not in _scanned(was)]
    found = [_finding("plan-seq-scan", "error", _scan(was, now, table, large[table]), READS_ALL) for table in scanned]
    touched = {node.table for plan in (was, now) for node in plan.nodes}
    if touched.isdisjoint(large):
        return found
    if now.cost > was.cost * cost_factor and not found:
        found.append(_finding("plan-cost-grew", "error", _costs(was, now, "dearer"), DEARER))
    elif now.cost * cost_factor < was.cost:
        found.append(_finding("plan-improved", "info", _costs(was, now, "cheaper"), DEARER))
    return found


def _scanned(plan: QueryPlan) -> dict[str, None]:
    return {node.table: None for node in plan.nodes if node.type == SCANS}


def _scan(was: QueryPlan, now: QueryPlan, table: str, rows: int) -> str:
    return (
        f"{now.query} {_access(was, table)}; after the change it reads all {rows_in_words(rows)} of {table} one after "
        f"another. Its cost goes from {was.cost:,.0f} to {now.cost:,.0f}."
    )


def _costs(was: QueryPlan, now: QueryPlan, word: str) -> str:
    changed = [
        f"{table}: it {_access(was, table)}, and {_access(now, table)} after the change"
        for table in dict.fromkeys(node.table for plan in (was, now) for node in plan.nodes if node.table)
        if _access(was, table) != _access(now, table)
    ]
    reason = "; ".join(changed) or "the steps are the same, their estimates are not"
    return f"{now.query} becomes {word}: its cost goes from {was.cost:,.0f} to {now.cost:,.0f} ({reason})."


def _access(plan: QueryPlan, table: str) -> str:
    """How a plan gets at a table, in words."""
    ways = [_way(node) for node in plan.nodes if node.table == table and node.type != BITMAP_HEAP]
    return " and ".join(dict.fromkeys(ways)) or f"did not read {table}"


def _way(node: PlanNode) -> str:
    if node.type == SCANS:
        return f"read all of {node.table} one after another"
    if node.index:
        return f"read {node.index}"
    return "wrote to it" if node.type == "ModifyTable" else f"read it by {node.type}"


def _finding(code: str, level: Level, summary: str, explanation: str) -> Finding:
    return Finding(code=code, level=level, summary=summary, explanation=explanation)
