"""What a database's catalogue says of its tables and indexes, what its planner plans, and what a migration ran on it.

A table is called as a person calls it: `orders`, or `sales.orders` outside the schema public.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import AwareDatetime, Field

from slipway.core.frozen import FrozenModel

LARGE_ROWS = 100_000  # from here on a table is large: a scan, a rewrite or a lock of it is felt by those who wait

# Weakest first, as the manual's table of conflicts orders them (PostgreSQL 18, section 13.3.1).
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
    """One index; a key is a column or an expression as text, with its operator class, collation and order."""

    table: str
    name: str
    method: str  # btree, gin, …
    keys: tuple[str, ...]
    included: tuple[str, ...] = ()
    unique: bool = False
    constraint: Literal["primary key", "unique", "exclusion", ""] = ""  # the constraint that it backs
    valid: bool = True
    predicate: str = ""
    nulls_distinct: bool = True
    partition: Literal["whole", "part", ""] = ""  # of a partitioned table: its index, or one of a partition under it
    bytes: int = Field(default=0, ge=0)
    scans: int = Field(default=0, ge=0)  # since `counted_since`, on this server only
    counted_since: AwareDatetime | None = None  # None: since the database was made


class TableSize(FrozenModel):
    """How large a table is: rows as the planner estimates them, bytes on disk."""

    table: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)  # all of it: the table with its TOAST, and its indexes
    table_bytes: int = Field(ge=0)
    index_bytes: int = Field(ge=0)


class PlanNode(FrozenModel):
    """One node of a plan: what it does, on which table by which index, its cost and its estimated rows."""

    type: str
    table: str = ""
    index: str = ""
    cost: float
    rows: float


class QueryPlan(FrozenModel):
    """How the planner would run a query, its nodes from the top down; or the error, when it cannot plan it."""

    query: str  # the label by which a person knows the query
    cost: float = 0
    rows: float = 0
    nodes: tuple[PlanNode, ...] = ()
    error: str = ""


class PlanChange(FrozenModel):
    """What became of one query's plan: the planner's costs (no unit of time), and how it reads each table."""

    query: str
    cost_before: float | None  # None when it could not be planned then
    cost_after: float | None
    reads: str


class Query(FrozenModel):
    """A query to plan: the label by which a person knows it, and its text."""

    label: str
    sql: str


class Busiest(FrozenModel):
    """The queries on which the server spends most time, most first; or why nobody can tell."""

    queries: tuple[Query, ...] = ()
    unknown: str = ""


class Lock(FrozenModel):
    """The strongest lock that a statement took on a table, held from then to the end of its transaction."""

    table: str
    mode: LockMode
    held_s: float = Field(ge=0)


class Statement(FrozenModel):
    """A statement that a migration ran, or several that it sent as one text; the same text run often has its calls added up.

    The text is shortened and has its literals, but no password and no bound parameter.
    """

    sql: str = Field(max_length=500)
    seconds: float = Field(ge=0)
    calls: int = Field(default=1, ge=1)
    rows: int | None = None  # written or returned; None when the server told no number
    locks: tuple[Lock, ...] = ()


def strength(mode: LockMode) -> int:
    """How strong a lock is: the larger the number, the more it blocks."""
    return LOCK_MODES.index(mode)
