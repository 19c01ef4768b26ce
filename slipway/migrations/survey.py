"""Survey a copy around its upgrade: indexes, query plans, locks, rewrites, sizes, and the SQL of the migration."""

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
from slipway.databases.postgresql.statement_monitor import StatementMonitor, monitor_statements
from slipway.migrations.index_lint import index_findings, new_index_findings
from slipway.migrations.lock_lint import lock_findings, rewrite_findings
from slipway.migrations.query_plans import plan_changes, plan_findings
from slipway.migrations.sql_lint import dangerous_statements
from slipway.migrations.squawk import lint

BUSIEST = 10


class Survey(FrozenModel):
    """The tables, indexes and query plans of a database at one moment."""

    tables: tuple[TableSize, ...]
    indexes: tuple[Index, ...]
    plans: tuple[QueryPlan, ...]

    @property
    def bytes(self) -> int:
        """The size of all tables with their indexes."""
        return sum(table.bytes for table in self.tables)


class Report:
    """What an upgrade did to a copy, complete after the block. Run the upgrade against `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.findings: tuple[Finding, ...] = ()
        self.plans: tuple[PlanChange, ...] = ()
        self.statements: tuple[Statement, ...] = ()
        self.grown_bytes = 0


@contextmanager
def report_upgrade(live: Database, copy: Database, plan: Plan) -> Iterator[Report]:
    """Survey a copy before and after the upgrade that runs in the block. Read-only. Raises Unavailable.

    On PostgreSQL everything is checked. For another database, the findings list what was not checked, and why.
    """
    if isinstance(live, PostgreSQL) and isinstance(copy, PostgreSQL):
        with _monitor_and_survey(live, copy, plan) as report:
            yield report
        return
    report, before = Report(copy.connection_url()), copy.size_bytes()
    yield report
    report.grown_bytes = copy.size_bytes() - before
    report.findings = live.unchecked


@contextmanager
def _monitor_and_survey(live: PostgreSQL, copy: PostgreSQL, plan: Plan) -> Iterator[Report]:
    queries, missing = queries_of(live, plan.change.rehearse)
    before = survey(copy, queries)
    with monitor_statements(copy) as monitor:
        report = Report(monitor.database.connection_url())
        yield report
    after = survey(copy, queries)
    findings = change_findings(before, after, monitor, plan.migration_sql, missing)
    report.findings = (*findings, *existing_index_findings(live))
    report.plans = plan_changes(before.plans, after.plans)
    report.statements, report.grown_bytes = monitor.statements, after.bytes - before.bytes


def survey(database: PostgreSQL, queries: Sequence[Query]) -> Survey:
    """Read the tables, indexes and query plans of a database. Read-only. Raises Unavailable."""
    return Survey(tables=read_tables(database), indexes=read_indexes(database), plans=explain(database, queries))


def queries_of(live: PostgreSQL, section: Rehearse) -> tuple[tuple[Query, ...], str]:
    """Return the change's own queries and the busiest queries of the live database, and why the latter are missing."""
    own = tuple(Query(label=" ".join(sql.split())[:100], sql=sql) for sql in section.queries)
    busiest = busiest_queries(live, BUSIEST)
    return (*own, *busiest.queries), busiest.unknown


def existing_index_findings(live: PostgreSQL) -> tuple[Finding, ...]:
    """Return the findings about existing indexes, at most as warnings, because the change did not create them."""
    findings = index_findings(read_indexes(live))
    return tuple(
        finding.model_copy(update={"level": "warning"}) if finding.level == "error" else finding for finding in findings
    )


def change_findings(
    before: Survey, after: Survey, monitor: StatementMonitor, sql: str, missing: str
) -> tuple[Finding, ...]:
    """Return the findings about the migration's SQL, and about its effects on the copy."""
    return (
        *lint(sql),
        *dangerous_statements(sql, before.tables),
        *lock_findings(monitor.statements, before.tables),
        *rewrite_findings(monitor.rewritten, before.tables),
        *new_index_findings(before.indexes, after.indexes),
        *plan_findings(before.plans, after.plans, before.tables),
        *_not_checked(
            "statements-not-all-seen",
            "Not every statement was recorded with its time and its locks.",
            monitor.incomplete,
        ),
        *_not_checked("busiest-queries-not-checked", "The plans of the busiest queries were not compared.", missing),
    )


def _not_checked(code: str, summary: str, why: str) -> list[Finding]:
    """Return a finding with the reason why a check did not run; empty without a reason."""
    return [Finding(code=code, level="info", summary=summary, explanation=why)] if why else []
