"""What a rehearsal reports besides the way back: indexes, plans, locks, rewrites, sizes, and the migration's SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from slipway.config.change import Rehearse
from slipway.config.plan import Plan
from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.databases.catalog import Index, PlanChange, Query, QueryPlan, Statement, TableSize
from slipway.databases.database import Database
from slipway.databases.postgresql.catalog_queries import busiest_queries, explain, read_indexes, read_tables
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.postgresql.statement_monitor import StatementMonitor, watched
from slipway.migrations.index_lint import index_findings, new_index_findings
from slipway.migrations.lock_lint import lock_findings, rewrite_findings
from slipway.migrations.query_plans import plan_changes, plan_findings
from slipway.migrations.sql_lint import dangerous_statements
from slipway.migrations.squawk import lint

BUSIEST = 10


class Survey(FrozenModel):
    """A database at one moment: its tables and indexes, and how it would run the queries that matter."""

    tables: tuple[TableSize, ...]
    indexes: tuple[Index, ...]
    plans: tuple[QueryPlan, ...]

    @property
    def bytes(self) -> int:
        """The size of all tables with their indexes."""
        return sum(table.bytes for table in self.tables)


class Report:
    """What an upgrade did to a copy, complete after the block; `url` is what the upgrade has to be run against."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.findings: tuple[Finding, ...] = ()
        self.plans: tuple[PlanChange, ...] = ()
        self.statements: tuple[Statement, ...] = ()
        self.grown_bytes = 0


@contextmanager
def reported(live: Database, copy: Database, plan: Plan) -> Iterator[Report]:
    """Look at a copy before and after the upgrade that runs in the block; only reads. Raises Unavailable.

    On PostgreSQL everything is looked at; of another database the findings say what is not, and why.
    """
    if isinstance(live, PostgreSQL) and isinstance(copy, PostgreSQL):
        with _watched_and_surveyed(live, copy, plan) as report:
            yield report
        return
    report, before = Report(copy.connection_url()), copy.size_bytes()
    yield report
    report.grown_bytes = copy.size_bytes() - before
    report.findings = live.unchecked


@contextmanager
def _watched_and_surveyed(live: PostgreSQL, copy: PostgreSQL, plan: Plan) -> Iterator[Report]:
    queries, unknown = queries_of(live, plan.change.rehearse)
    before = survey(copy, queries)
    with watched(copy) as watch:
        report = Report(watch.database.connection_url())
        yield report
    after = survey(copy, queries)
    found = change_findings(before, after, watch, plan.migration_sql, unknown)
    report.findings = (*found, *existing_index_findings(live))
    report.plans = plan_changes(before.plans, after.plans)
    report.statements, report.grown_bytes = watch.statements, after.bytes - before.bytes


def survey(database: PostgreSQL, queries: Sequence[Query]) -> Survey:
    """Look at a database; only reads. Raises Unavailable."""
    return Survey(tables=read_tables(database), indexes=read_indexes(database), plans=explain(database, queries))


def queries_of(live: PostgreSQL, wanted: Rehearse) -> tuple[tuple[Query, ...], str]:
    """The change's own queries, by their beginning, and the busiest of the live database, or why these are not known."""
    own = tuple(Query(label=" ".join(sql.split())[:100], sql=sql) for sql in wanted.queries)
    busiest = busiest_queries(live, BUSIEST)
    return (*own, *busiest.queries), busiest.unknown


def existing_index_findings(live: PostgreSQL) -> tuple[Finding, ...]:
    """What stands against the indexes that are there: for a person to read, whatever it is, as no change has made it."""
    found = index_findings(read_indexes(live))
    return tuple(
        finding.model_copy(update={"level": "warning"}) if finding.level == "error" else finding for finding in found
    )


def change_findings(
    before: Survey, after: Survey, watch: StatementMonitor, sql: str, unknown: str
) -> tuple[Finding, ...]:
    """What the migration did to the copy, and what its SQL says of itself."""
    return (
        *lint(sql),
        *dangerous_statements(sql, before.tables),
        *lock_findings(watch.statements, before.tables),
        *rewrite_findings(watch.rewritten, before.tables),
        *new_index_findings(before.indexes, after.indexes),
        *plan_findings(before.plans, after.plans, before.tables),
        *_unseen("statements-not-all-seen", "Not every statement was seen with its time and its locks.", watch.unseen),
        *_unseen("busiest-queries-not-checked", "Plans of the busiest queries were not compared.", unknown),
    )


def _unseen(code: str, summary: str, why: str) -> list[Finding]:
    """What was not looked at is told, with the reason."""
    return [Finding(code=code, level="info", summary=summary, explanation=why)] if why else []
