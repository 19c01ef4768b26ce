"""How a change alters plans: the gate, and the reasons in words."""

from __future__ import annotations

import pytest

from slipway.databases.catalog import PlanNode, QueryPlan, TableSize
from slipway.migrations.query_plans import plan_changes, plan_findings

TABLES = tuple(
    TableSize(table=name, rows=rows, bytes=0, table_bytes=0, index_bytes=0)
    for name, rows in (("orders", 1_000_000), ("customer", 200_000), ("country", 250))
)


def plan(cost: float, *nodes: tuple[str, str, str], error: str = "") -> QueryPlan:
    """A plan of the one query."""
    made = tuple(PlanNode(type=kind, table=table, index=index, cost=cost, rows=1) for kind, table, index in nodes)
    return QueryPlan(query="GET of orders", cost=cost, rows=1, nodes=made, error=error)


BY_INDEX = plan(8, ("Limit", "", ""), ("Index Scan", "orders", "ix_orders_open"))
ALL = plan(20_000, ("Limit", "", ""), ("Seq Scan", "orders", ""))
BITMAP = plan(40, ("Bitmap Heap Scan", "orders", ""), ("Bitmap Index Scan", "orders", "ix_orders_state"))
BOTH = plan(900, ("Hash Join", "", ""), ("Seq Scan", "country", ""), ("Index Scan", "orders", "ix_orders_open"))
FAILED = plan(0, error='relation "orders" does not exist')


@pytest.mark.parametrize(
    ("before", "after", "level", "said"),
    [
        (
            BY_INDEX, ALL, "error",
            "plan-seq-scan: GET of orders read ix_orders_open; after the change it reads all 1.0 M rows of orders one "
            "after another. Its cost goes from 8 to 20,000.",
        ),
        (
            BITMAP, ALL, "error",
            "plan-seq-scan: GET of orders read ix_orders_state; after the change it reads all 1.0 M rows of orders one "
            "after another. Its cost goes from 40 to 20,000.",
        ),
        (
            ALL, BY_INDEX, "info",
            "plan-improved: GET of orders becomes cheaper: its cost goes from 20,000 to 8 (orders: it read all of orders "
            "one after another, and read ix_orders_open after the change).",
        ),
        (
            BY_INDEX, BITMAP, "error",
            "plan-cost-grew: GET of orders becomes dearer: its cost goes from 8 to 40 (orders: it read ix_orders_open, and "
            "read ix_orders_state after the change).",
        ),
        (
            BY_INDEX, plan(17, ("Limit", "", ""), ("Index Scan", "orders", "ix_orders_open")), "error",
            "plan-cost-grew: GET of orders becomes dearer: its cost goes from 8 to 17 (the steps are the same, their "
            "estimates are not).",
        ),
        (
            BY_INDEX, BOTH, "error",
            "plan-cost-grew: GET of orders becomes dearer: its cost goes from 8 to 900 (country: it did not read country, "
            "and read all of country one after another after the change).",
        ),
        (
            BY_INDEX, FAILED, "error",
            'plan-failed: GET of orders cannot be planned after the change: relation "orders" does not exist.',
        ),
        (
            FAILED, FAILED, "warning",
            "plan-unknown: GET of orders can be planned neither before nor after the change: "
            'relation "orders" does not exist.',
        ),
        (FAILED, ALL, "error", "plan-seq-scan: GET of orders reads all 1.0 M rows of orders."),
    ],
)  # fmt: skip
def test_a_plan_that_changed(before: QueryPlan, after: QueryPlan, level: str, said: str) -> None:
    """One finding, with what was read before and what is read now."""
    [found] = plan_findings([before], [after], TABLES)
    assert (found.level, f"{found.code}: {found.summary}") == (level, said)
    assert found.explanation


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
def test_no_reason_to_say_anything(before: QueryPlan, after: QueryPlan) -> None:
    """Small tables never gate, nor do small changes of cost, nor a query that had no plan before."""
    assert plan_findings([before], [after], TABLES) == ()


def test_each_large_table_that_is_scanned() -> None:
    """Two new scans are two findings, and the cost is no third."""
    before = plan(16, ("Index Scan", "orders", "a"), ("Index Scan", "customer", "b"))
    after = plan(9_000, ("Seq Scan", "orders", ""), ("Seq Scan", "customer", ""))
    assert [found.code for found in plan_findings([before], [after], TABLES)] == ["plan-seq-scan", "plan-seq-scan"]


def test_the_limits_can_be_set() -> None:
    """Rows from which a table is large, and the factor of the cost."""
    assert plan_findings([BY_INDEX], [ALL], TABLES, large_rows=2_000_000) == ()
    assert plan_findings([BY_INDEX], [BITMAP], TABLES, cost_factor=5.0) == ()


def test_two_queries_of_one_name() -> None:
    """They are told apart by their place: a label may be the same beginning of two texts."""
    found = plan_findings([BY_INDEX, ALL], [BY_INDEX, ALL], TABLES)
    assert found == ()
    assert [each.code for each in plan_findings([ALL, BY_INDEX], [ALL, ALL], TABLES)] == ["plan-seq-scan"]


def test_every_plan_is_a_line() -> None:
    """Also of a query that stayed as it was, or that has no plan; each table with how it is read then and now."""
    lines = plan_changes([ALL, BOTH, BY_INDEX, FAILED], [BY_INDEX, BOTH, FAILED, FAILED])
    assert [(line.cost_before, line.cost_after, line.reads) for line in lines] == [
        (20_000, 8, "orders: read all of orders one after another, now read ix_orders_open"),
        (900, 900, "country: read all of country one after another; orders: read ix_orders_open"),
        (8, None, "orders: read ix_orders_open, now did not read orders"),
        (None, None, 'relation "orders" does not exist'),
    ]
