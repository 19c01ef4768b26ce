"""Query plans before and after a change: errors, and the reasons in their summaries."""

from __future__ import annotations

import pytest

from slipway.databases.catalog import PlanNode, QueryPlan, TableSize
from slipway.migrations.query_plans import plan_changes, plan_findings

TABLES = tuple(
    TableSize(table=name, rows=rows, bytes=0, table_bytes=0, index_bytes=0)
    for name, rows in (("orders", 1_000_000), ("customer", 200_000), ("country", 250))
)


def plan(cost: float, *nodes: tuple[str, str, str], error: str = "") -> QueryPlan:
    """Return a plan of the query."""
    plan_nodes = tuple(PlanNode(type=kind, table=table, index=index, cost=cost, rows=1) for kind, table, index in nodes)
    return QueryPlan(query="GET of orders", cost=cost, rows=1, nodes=plan_nodes, error=error)


BY_INDEX = plan(8, ("Limit", "", ""), ("Index Scan", "orders", "ix_orders_open"))
ALL = plan(20_000, ("Limit", "", ""), ("Seq Scan", "orders", ""))
BITMAP = plan(40, ("Bitmap Heap Scan", "orders", ""), ("Bitmap Index Scan", "orders", "ix_orders_state"))
BOTH = plan(900, ("Hash Join", "", ""), ("Seq Scan", "country", ""), ("Index Scan", "orders", "ix_orders_open"))
FAILED = plan(0, error='relation "orders" does not exist')


@pytest.mark.parametrize(
    ("before", "after", "level", "message"),
    [
        (
            BY_INDEX, ALL, "error",
            "plan-seq-scan: GET of orders reads all 1.0 M rows of orders in a sequential scan after the change; before the "
            "change: index ix_orders_open. Its cost changes from 8 to 20,000.",
        ),
        (
            BITMAP, ALL, "error",
            "plan-seq-scan: GET of orders reads all 1.0 M rows of orders in a sequential scan after the change; before the "
            "change: index ix_orders_state. Its cost changes from 40 to 20,000.",
        ),
        (
            ALL, BY_INDEX, "info",
            "plan-improved: GET of orders becomes cheaper: its cost changes from 20,000 to 8 (orders: sequential scan before "
            "the change, index ix_orders_open after it).",
        ),
        (
            BY_INDEX, BITMAP, "error",
            "plan-cost-grew: GET of orders becomes more expensive: its cost changes from 8 to 40 (orders: index ix_orders_open "
            "before the change, index ix_orders_state after it).",
        ),
        (
            BY_INDEX, plan(17, ("Limit", "", ""), ("Index Scan", "orders", "ix_orders_open")), "error",
            "plan-cost-grew: GET of orders becomes more expensive: its cost changes from 8 to 17 (the plan is the same, but "
            "its estimates changed).",
        ),
        (
            BY_INDEX, BOTH, "error",
            "plan-cost-grew: GET of orders becomes more expensive: its cost changes from 8 to 900 (country: not read before "
            "the change, sequential scan after it).",
        ),
        (
            BY_INDEX, FAILED, "error",
            'plan-failed: GET of orders cannot be planned after the change: relation "orders" does not exist.',
        ),
        (
            FAILED, FAILED, "warning",
            "plan-unknown: GET of orders cannot be planned before or after the change: "
            'relation "orders" does not exist.',
        ),
        (FAILED, ALL, "error", "plan-seq-scan: GET of orders reads all 1.0 M rows of orders."),
    ],
)  # fmt: skip
def test_a_changed_plan_is_a_finding(before: QueryPlan, after: QueryPlan, level: str, message: str) -> None:
    """The finding names the access to the table before and after the change."""
    [finding] = plan_findings([before], [after], TABLES)
    assert (finding.level, f"{finding.code}: {finding.summary}") == (level, message)
    assert finding.explanation


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BY_INDEX, BY_INDEX),
        (ALL, ALL),
        (BY_INDEX, plan(15, ("Index Scan", "orders", "ix_orders_open"))),
        (plan(4, ("Index Scan", "country", "country_pkey")), plan(9, ("Seq Scan", "country", ""))),
        (plan(9, ("Seq Scan", "country", "")), plan(4, ("Index Scan", "country", "country_pkey"))),
        (FAILED, BY_INDEX),
        (plan(1, ("Result", "", "")), plan(9, ("Result", "", ""))),
        (BY_INDEX, plan(9, ("Seq Scan", "made_by_the_change", ""))),
    ],
)
def test_small_tables_and_small_cost_changes_are_no_findings(before: QueryPlan, after: QueryPlan) -> None:
    """Small tables, small cost changes, and queries without a plan before the change are no findings."""
    assert plan_findings([before], [after], TABLES) == ()


def test_each_scanned_large_table_is_a_finding() -> None:
    """Two new sequential scans are two findings, and the cost is not a third."""
    before = plan(16, ("Index Scan", "orders", "a"), ("Index Scan", "customer", "b"))
    after = plan(9_000, ("Seq Scan", "orders", ""), ("Seq Scan", "customer", ""))
    assert [finding.code for finding in plan_findings([before], [after], TABLES)] == ["plan-seq-scan", "plan-seq-scan"]


def test_the_limits_can_be_set() -> None:
    """The row count of a large table and the cost factor are parameters."""
    assert plan_findings([BY_INDEX], [ALL], TABLES, large_rows=2_000_000) == ()
    assert plan_findings([BY_INDEX], [BITMAP], TABLES, cost_factor=5.0) == ()


def test_queries_with_the_same_label_are_compared_by_position() -> None:
    """A label is the start of a query, so two queries may have the same label."""
    assert plan_findings([BY_INDEX, ALL], [BY_INDEX, ALL], TABLES) == ()
    assert [finding.code for finding in plan_findings([ALL, BY_INDEX], [ALL, ALL], TABLES)] == ["plan-seq-scan"]


def test_every_query_has_an_entry() -> None:
    """Unchanged queries and queries without a plan also have an entry, with the access to each table."""
    lines = plan_changes([ALL, BOTH, BY_INDEX, FAILED], [BY_INDEX, BOTH, FAILED, FAILED])
    assert [(line.cost_before, line.cost_after, line.reads) for line in lines] == [
        (20_000, 8, "orders: sequential scan, now index ix_orders_open"),
        (900, 900, "country: sequential scan; orders: index ix_orders_open"),
        (8, None, "orders: index ix_orders_open, now not read"),
        (None, None, 'relation "orders" does not exist'),
    ]
