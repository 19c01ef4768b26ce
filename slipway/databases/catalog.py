"""Types for a database's catalog (tables, indexes), for query plans, and for the statements that a migration ran.

Table names have no schema in the schema public (`orders`), and the schema elsewhere (`sales.orders`).
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import AwareDatetime, Field

from slipway.core.frozen import FrozenModel

LARGE_ROWS = 100_000  # a table of this size or more is large: users notice when it is scanned, rewritten or locked

# Weakest first, in the order of the conflict table in the manual (PostgreSQL 18, section 13.3.1).
LockMode = Literal[
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
]
LOCK_MODES: tuple[LockMode, ...] = get_args(LockMode)


class Index(FrozenModel):
    """An index. Each key is the text of a column or an expression, with its operator class, collation and order."""

    table: str
    name: str
    method: str  # btree, gin, …
    keys: tuple[str, ...]
    included: tuple[str, ...] = ()
    unique: bool = False
    constraint: Literal["primary key", "unique", "exclusion", ""] = ""  # the constraint that the index enforces
    valid: bool = True
    predicate: str = ""
    nulls_distinct: bool = True
    partition: Literal["whole", "part", ""] = ""  # whole: index of a partitioned table; part: of a partition
    bytes: int = Field(default=0, ge=0)
    scans: int = Field(default=0, ge=0)  # since `counted_since`; scans on replicas are not counted
    counted_since: AwareDatetime | None = None  # None: since the database was created


class TableSize(FrozenModel):
    """The size of a table: rows as the planner estimates them, and bytes on disk."""

    table: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)  # the table with its TOAST data, and its indexes
    table_bytes: int = Field(ge=0)
    index_bytes: int = Field(ge=0)


class PlanNode(FrozenModel):
    """One node of a query plan: its type, table, index, cost and estimated rows."""

    type: str
    table: str = ""
    index: str = ""
    cost: float
    rows: float


class QueryPlan(FrozenModel):
    """The plan of a query, with its nodes from the top down, or the error if the query cannot be planned."""

    query: str  # the label of the query
    cost: float = 0
    rows: float = 0
    nodes: tuple[PlanNode, ...] = ()
    error: str = ""


class PlanChange(FrozenModel):
    """The change of one query's plan: the planner's costs (not a unit of time), and how the plan reads each table."""

    query: str
    cost_before: float | None  # None if the query could not be planned
    cost_after: float | None
    reads: str


class Query(FrozenModel):
    """A query to plan: its label for people, and its text."""

    label: str
    sql: str


class BusiestQueries(FrozenModel):
    """The queries with the largest total execution time, largest first, or the reason why they are unknown."""

    queries: tuple[Query, ...] = ()
    unknown: str = ""


class Lock(FrozenModel):
    """The strongest lock that a statement took on a table. The lock is held until the end of the transaction."""

    table: str
    mode: LockMode
    held_s: float = Field(ge=0)


class Statement(FrozenModel):
    """A statement that a migration ran, or several statements that it sent as one text.

    Calls of the same text are added up. The text is shortened. It contains literals, but no password and no bound parameter.
    """

    sql: str = Field(max_length=500)
    seconds: float = Field(ge=0)
    calls: int = Field(default=1, ge=1)
    rows: int | None = None  # written or returned; None if the server reported no number
    locks: tuple[Lock, ...] = ()


def strength(mode: LockMode) -> int:
    """Return the strength of a lock mode. A larger number blocks more."""
    return LOCK_MODES.index(mode)
