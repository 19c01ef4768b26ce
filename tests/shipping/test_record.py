"""The record of a run, rendered as Markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.caching.outcomes import Purged, RouteReading
from slipway.config.change import Change
from slipway.config.plan import Plan, PurgePlan
from slipway.config.service import Service
from slipway.core.commands import CommandRun
from slipway.core.finding import Finding
from slipway.databases.catalog import Lock, PlanChange, Statement
from slipway.measurement.samples import (
    Interval,
    MeasuredWindow,
    MonitorResult,
    MonitorSample,
    TargetVerdict,
    Verdict,
    VerdictWord,
)
from slipway.migrations.outcomes import Migration, Rehearsal, Reversibility, Reverted
from slipway.shipping.outcomes import Approval, Decision, Staged
from slipway.shipping.record import ShipReport, render, verdict_table
from slipway.shipping.rehearsal_report import command_table, format_reversibility

SERVICE = Service.model_validate({"name": "shop", "url": "http://127.0.0.1:8000", "routes": ["/orders", "/products/*"]})
CHANGE = Change.model_validate(
    {
        "service": "shop",
        "owner": "orders team <orders@example.com>",
        "reason": "Order history is slow",
        "expected": "GET /orders at least 30 % faster",
        "rollback": "Drops the index again. No data is lost.",
        "migrate": {"from": "0007", "to": "0008"},
        "purge": {"routes": ["/orders"], "tags": ["orders"]},
        "measure": {
            "targets": [{"route": "/orders", "identity": "customer"}],
            "control": {"route": "/products/1", "identity": "customer"},
        },
    }
)
WINDOW = MeasuredWindow(
    started_at="2026-03-04T05:00:00+00:00", seconds=16, bursts=20, requests=25, measurements=(), warm_up_s=2.4
)
FINDINGS = (
    Finding(code="cache-headers", level="info", summary="/orders: 200.", explanation="Seen."),
    Finding(code="vary-star", level="warning", summary="/orders says Vary: *.", explanation="It never hits."),
)


def command(*argv: str, seconds: float = 0.42, exit_code: int = 0) -> CommandRun:
    """Return a command run."""
    return CommandRun(argv=argv, seconds=seconds, exit_code=exit_code, output="")


PLAN = Plan(
    name="order-history-index",
    digest="0123456789abcdef" * 4,
    change=CHANGE,
    service=SERVICE,
    commit="abc1234 An index for the order history",
    files=("migrations/0008.py", "changes/order-history-index/change.toml (not committed)"),
    migration_sql="CREATE INDEX …",
    commands=(command("alembic", "current"),),
)
REHEARSAL = Rehearsal(
    reversibility="lossless",
    rows=1_200_000,
    copy_bytes=123_000_000,
    copy_seconds=4.2,
    upgrade_seconds=1.26,
    downgrade_seconds=0.5,
    commands=(command("alembic", "upgrade", "0008", seconds=1.26), command("alembic", "downgrade", "0007")),
)
MIGRATION = Migration(
    before="0007", after="0008", acted=True, commands=(command("alembic", "upgrade", "0008", seconds=1.5),)
)
BACK = Migration(before="0008", after="0007", acted=True, commands=(command("alembic", "downgrade", "0007"),))
PURGED = Purged(
    routes=("/orders",),
    tags=("orders",),
    affected=(RouteReading(route="/orders", first="miss", second="hit"),),
    controls=(
        RouteReading(route="/products/1", first="hit", second="hit"),
        RouteReading(route="/products/2", first="miss", second="hit", evicted=True),
    ),
    seconds=3.14,
)


EVICTED = (
    "- warning: /products/2 left the cache, too. It was in the cache before the purge, and the change does not "
    "name it. Check whether a tag or a rule of the cache matches it. It may also have expired at that moment."
)


def verdict(word: VerdictWord, **target: Any) -> Verdict:
    """Return a verdict on one target."""
    numbers: dict[str, Any] = {
        "route": "/orders",
        "cache": "pass",
        "median_before_ms": 18.204,
        "median_after_ms": 3.1,
        "p90_before_ms": 30.5,
        "p90_after_ms": 5.25,
        "median": Interval(ratio=0.17, low=0.15, high=0.191, confidence=0.95),
        "errors_after": 2,
    }
    result = TargetVerdict(
        identity="customer",
        verdict=word,
        sentence=f"/orders as customer {word}: 18.2 → 3.1 ms.",
        **numbers | target,
    )
    return Verdict(verdict=word, sentence=f"All in all {word}.", margin=0.1, alpha=0.05, targets=(result,))


def ship_report(**parts: Any) -> ShipReport:
    """Return the report of a run with these parts; the other parts are None."""
    common: dict[str, Any] = {
        "run_id": "run-1",
        "at": datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
        "plan": PLAN,
        "findings": FINDINGS,
        "rehearsal": REHEARSAL,
        "before": WINDOW,
    }
    return ShipReport(**common | parts)


SHIPPED: dict[str, Any] = {"migration": MIGRATION, "purged": PURGED, "after": WINDOW}
KEPT = ship_report(**SHIPPED, verdict=verdict("improved"), decision=Decision(word="keep", reason="It is faster."))
ROLLED_BACK = ship_report(
    **SHIPPED,
    verdict=verdict("regressed"),
    decision=Decision(word="roll back", reason="It is slower."),
    reverted=Reverted(migration=BACK, sentence="the database moved from revision 0008 to 0007."),
    purged_again=PURGED,
    restored=verdict("same"),
)
FROZEN = ship_report(
    **SHIPPED,
    verdict=verdict("inconclusive", median=None, median_after_ms=None, p90_after_ms=None, cache=None),
    decision=Decision(word="freeze", reason="There are too few samples."),
)
FAILED = ship_report(
    migration=MIGRATION,
    decision=Decision(word="roll back", reason="A step after the migration failed. The cache refused."),
    reverted=Reverted(migration=BACK, sentence="the database moved from revision 0008 to 0007."),
)


def field(markdown: str, name: str) -> str:
    """Return a field of the first table."""
    [line] = [line for line in markdown.splitlines() if line.startswith(f"| {name} |")]
    return line.removeprefix(f"| {name} | ").removesuffix(" |")


def section(markdown: str, title: str) -> list[str]:
    """Return the lines of a section, without the empty lines."""
    _, _, rest = markdown.partition(f"## {title}\n")
    return [line for line in rest.partition("\n## ")[0].splitlines() if line]


def cells(row: str) -> int:
    """Return the number of cells in a Markdown table row (GFM: an escaped pipe does not separate cells)."""
    return row.replace("\\|", "").count("|") - 1


@pytest.mark.parametrize(
    ("report", "title", "word", "decided"),
    [
        (KEPT, "order-history-index: kept", "improved", "keep"),
        (ROLLED_BACK, "order-history-index: rolled back", "regressed", "roll back"),
        (FROZEN, "order-history-index: frozen: waiting for a person's decision", "inconclusive", "freeze"),
        (FAILED, "order-history-index: rolled back", "none: there was no second measurement", "roll back"),
    ],
    ids=["kept", "rolled back", "frozen", "failed"],
)
def test_a_record_starts_with_owner_reason_expectation_and_outcome(
    report: ShipReport, title: str, word: str, decided: str
) -> None:
    """The first table and the assumptions are the same for every decision."""
    text = render(report)
    assert text.startswith(f"# {title}\n\n{report.decision.reason}\n")
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert field(text, "service") == "shop"
    assert field(text, "owner") == "orders team <orders@example.com>"
    assert field(text, "reason") == "Order history is slow"
    assert field(text, "expected") == "GET /orders at least 30 % faster"
    assert field(text, "rollback note") == "Drops the index again. No data is lost."
    assert field(text, "verdict") == word
    assert field(text, "decision") == decided
    assert field(text, "run") == "run-1, 2026-03-04 05:06 UTC"
    assert field(text, "change file") == "sha256 0123456789abcdef, abc1234 An index for the order history"
    assert section(text, "Files touched") == [f"- {file}" for file in PLAN.files]
    assert section(text, "Assumptions") == [
        "- The change does not affect the control: /products/1 as customer.",
        "- 20 bursts of 25 requests per route in 16 s represent real traffic.",
        "- The test users see what real users see.",
        "- The live data is still similar to the copy that the rehearsal used.",
    ]


def test_a_kept_change_shows_its_numbers_steps_and_rollback_command() -> None:
    """The record of a kept change shows the numbers, every step, and the command that rolls the change back."""
    text = render(KEPT)
    assert field(text, "measured") == "/orders as customer improved: 18.2 → 3.1 ms."
    assert section(text, "Before and after")[-1] == (
        "| /orders as customer | pass | 18.20 → 3.10 ms | 0.170 (0.150 to 0.191 at 95%) | 30.50 → 5.25 ms "
        "| 0 before, 2 after | improved |"
    )
    assert section(text, "What was done") == [
        "- Inspected: 2 findings, 1 of them warnings.",
        "- Measured before the change: 20 bursts in 16 s. Warmed up for 2.4 s.",
        "- Rehearsed: on a copy of 123 MB made in 4.2 s; upgrade 1.3 s, downgrade 0.5 s. "
        "The downgrade is lossless: the schema and all 1,200,000 rows are as before.",
        "- Migrated: from revision 0007 to 0008.",
        "- Purged: /orders, tag orders, twice, in 3.1 s.",
        "  - affected /orders: first read miss, second hit",
        "  - control /products/1: first read hit, second hit",
        "  - control /products/2: first read miss, second hit (also left the cache)",
        "- Measured after the change: 20 bursts in 16 s. Warmed up for 2.4 s.",
    ]
    assert section(text, "Findings") == ["- warning: /orders says Vary: *. It never hits.", EVICTED]
    assert section(text, "Commands")[2:] == [
        "| `alembic current` | 0.42 s | 0 |",
        "| `alembic upgrade 0008` | 1.26 s | 0 |",
        "| `alembic downgrade 0007` | 0.42 s | 0 |",
        "| `alembic upgrade 0008` | 1.50 s | 0 |",
    ]
    assert section(text, "Rollback") == ["    slipway rollback order-history-index"]


def test_a_discarded_window_is_reported() -> None:
    """The record names the route that was still warming up, and its latencies."""
    reason = "/orders as customer (pass) got faster within the window, 5.2 → 0.32 ms"
    text = render(KEPT.model_copy(update={"before": WINDOW.model_copy(update={"discarded": (reason,)})}))
    assert section(text, "What was done")[1] == (
        "- Measured before the change: 20 bursts in 16 s. The first window was discarded, because the service was still "
        f"warming up: {reason}. Warmed up for 2.4 s."
    )


def test_the_planned_purge_and_the_monitor_results_are_shown() -> None:
    """The record shows the purge plan and the monitor result of each monitored step."""
    leaving = PurgePlan(routes=("/orders", "/products/7"), tags=("orders",))
    samples = (MonitorSample(0.0, "/orders", "customer", 18.0), MonitorSample(0.2, "/orders", "customer", 40.0))
    watched = MonitorResult(
        step="the migration", started_at=datetime(2026, 1, 1, tzinfo=UTC), seconds=1.5, glimpses=samples
    )
    parts = {
        "plan": PLAN.model_copy(update={"leaving": leaving}),
        "migration": MIGRATION.model_copy(update={"watched": watched}),
    }
    done = section(render(KEPT.model_copy(update=parts)), "What was done")
    assert "- Planned purge: /orders, /products/7; tag orders (known pages: none)." in done
    assert (
        "- During the migration (1.5 s) /orders as customer: median 29 ms, slowest 40 ms, 2 requests, no error." in done
    )


def test_the_record_contains_the_rehearsal_report() -> None:
    """The record shows all findings, errors first, the query plans, and the statements with their locks."""
    findings = [
        Finding(code="index-unused", level="info", summary="It is idle.", explanation="It costs."),
        Finding(code="way-back-lossy", level="warning", summary="It loses.", explanation="A column."),
    ]
    plans = (PlanChange(query="SELECT | 1", cost_before=20_000, cost_after=None, reads="orders: read ix | a"),)
    locks = (Lock(table="orders", mode="SHARE", held_s=0.5),)
    statements = (Statement(sql="CREATE INDEX a", seconds=0.5, rows=3, locks=locks),)
    parts = {"findings": tuple(findings), "plans": plans, "statements": statements, "grown_bytes": 2_000_000}
    text = render(KEPT.model_copy(update={"rehearsal": REHEARSAL.model_copy(update=parts)}))
    assert section(text, "Findings") == [
        "- warning: /orders says Vary: *. It never hits.",
        EVICTED,
        "- warning: It loses. A column.",
        "- info: It is idle. It costs.",
    ]
    assert section(text, "Plans of the queries")[2:] == [
        "| `SELECT \\| 1` | 20,000 → no plan | orders: read ix \\| a |"
    ]
    assert section(text, "Statements of the upgrade")[2:] == [
        "| `CREATE INDEX a` | 1 | 0.500 s | 3 | SHARE on orders for 0.50 s |",
        "Tables and indexes grew by 2.0 MB.",
    ]
    shrunk = REHEARSAL.model_copy(update={**parts, "grown_bytes": -2_800_000})
    assert section(render(KEPT.model_copy(update={"rehearsal": shrunk})), "Statements of the upgrade")[-1] == (
        "Tables and indexes shrank by 2.8 MB."
    )


def test_lock_holders_and_dropped_indexes_of_a_migration_are_shown() -> None:
    """The record names the sessions that held locks, and the invalid indexes that were dropped."""
    parts = {"blocked_by": ("pid 7 (report, active, since 05:06:07 UTC: SELECT 1)",), "mended": ("public.ix_a",)}
    text = render(KEPT.model_copy(update={"migration": MIGRATION.model_copy(update=parts)}))
    assert (
        "- Migrated: from revision 0007 to 0008. The migration waited for locks held by pid 7 (report, active, since 05:06:07 "
        "UTC: SELECT 1). Invalid indexes of an earlier attempt were dropped: public.ix_a."
    ) in section(text, "What was done")


def test_the_record_links_to_staging() -> None:
    """The record names both runs on staging; a run on staging has its own record and rollback command."""
    at = datetime(2026, 3, 3, 4, 5, tzinfo=UTC)
    staged = Staged(service="shop-staging", kept_by="run-7", kept_at=at, rolled_back_by="run-8", rolled_back_at=at)
    assert field(render(KEPT.model_copy(update={"staged": staged})), "staging") == (
        "kept on shop-staging by run run-7, 2026-03-03 04:05 UTC; rolled back there by run run-8, "
        "2026-03-03 04:05 UTC: [record](record.staging.md)"
    )
    there = render(KEPT.model_copy(update={"plan": PLAN.model_copy(update={"on_staging": True})}))
    assert section(there, "Rollback") == ["    slipway rollback order-history-index --staging"]
    assert "(before-after.staging.svg)" in there


def test_a_rolled_back_change_shows_the_rollback_and_its_measurement() -> None:
    """The record shows the rollback, the measurement after it, and that no action is needed."""
    text = render(ROLLED_BACK)
    done = section(text, "What was done")
    assert "- Rolled back: the database moved from revision 0008 to 0007." in done
    assert "- Purged again: /orders, tag orders, twice, in 3.1 s." in done
    assert done[-1] == (
        "- Measured after the rollback, compared with before the change: same. /orders as customer same: 18.2 → 3.1 ms."
    )
    assert section(text, "Commands")[-1] == "| `alembic downgrade 0007` | 0.42 s | 0 |"
    assert section(text, "Rollback") == ["The change was rolled back. No action is needed."]


def test_a_frozen_change_shows_missing_numbers_and_the_rollback_command() -> None:
    """The record says which numbers are missing, and how to roll the change back."""
    text = render(FROZEN)
    assert section(text, "Before and after")[-1] == (
        "| /orders as customer | unknown | not enough samples | none | not enough samples | 0 before, 2 after "
        "| inconclusive |"
    )
    assert section(text, "Rollback") == ["    slipway rollback order-history-index"]


def test_a_run_that_failed_before_the_second_measurement_shows_its_steps() -> None:
    """The record has no chart and no numbers, but shows every step of the run."""
    text = render(FAILED)
    assert field(text, "measured") == "nothing"
    assert "## Before and after" not in text
    assert section(text, "What was done")[3:] == [
        "- Migrated: from revision 0007 to 0008.",
        "- Purged: nothing.",
        "- Rolled back: the database moved from revision 0008 to 0007.",
        "- Purged again: nothing.",
        "- Measured after the rollback, compared with before the change: not measured.",
    ]


def test_a_migration_that_was_already_done_is_shown() -> None:
    """The record says that the database was already at the requested revision."""
    idle = Migration(before="0008", after="0008", acted=False)
    text = render(KEPT.model_copy(update={"migration": idle}))
    assert "- Migrated: nothing; the database was already at revision 0008." in text


def test_without_a_migration_findings_or_a_repository() -> None:
    """The record states what the change does not have, and contains no empty section."""
    change = CHANGE.model_copy(update={"migrate": None, "purge": None})
    plan = PLAN.model_copy(update={"change": change, "commit": "", "files": (), "commands": ()})
    bare = ship_report(
        plan=plan,
        findings=(),
        rehearsal=Rehearsal(reversibility="nothing to migrate"),
        after=WINDOW,
        verdict=verdict("same"),
        decision=Decision(word="keep", reason="As fast as before."),
    )
    text = render(bare)
    assert section(text, "What was done") == [
        "- Inspected: 0 findings, no warnings.",
        "- Measured before the change: 20 bursts in 16 s. Warmed up for 2.4 s.",
        "- Rehearsed: nothing; the change has no migration.",
        "- Migrated: nothing; the change has no migration.",
        "- Purged: nothing.",
        "- Measured after the change: 20 bursts in 16 s. Warmed up for 2.4 s.",
    ]
    assert "## Findings" not in text and "## Commands" not in text
    assert section(text, "Files touched") == ["- unknown: the change is not in a git repository"]
    assert field(text, "change file").endswith("not committed")


def test_pipes_and_line_breaks_do_not_break_a_table() -> None:
    """Any text in a change, a route or a command leaves the cells of its row intact."""
    change = CHANGE.model_copy(update={"owner": "a | b", "reason": "one\ntwo", "expected": "x|y", "rollback": "| |"})
    plan = PLAN.model_copy(update={"change": change, "commit": "abc1234 a | b"})
    sentence = verdict("improved", route="/search?q=a|b").targets[0].model_copy(update={"sentence": "a | b\nc"})
    result = verdict("improved").model_copy(update={"targets": (sentence,)})
    text = render(KEPT.model_copy(update={"plan": plan, "verdict": result}))
    head = text.splitlines()[4:16]
    assert [cells(row) for row in head] == [2] * 12
    assert (field(text, "owner"), field(text, "reason")) == ("a \\| b", "one two")
    assert field(text, "measured") == "a \\| b c"
    table = verdict_table(verdict("improved", route="/search?q=a|b"))
    assert [cells(row) for row in table] == [7] * 3
    commands = command_table([command("./migrate", "a|b")])
    assert [cells(row) for row in commands[2:]] == [3] * 3


def test_a_rejected_change_shows_who_rejected_it_and_why() -> None:
    """The record names the person and the reason, and says that no action is needed."""
    approval = Approval(approved=False, by="Grace | ops", why="Not before the sale.")
    rejected = ship_report(
        approval=approval, decision=Decision(word="reject", reason="Rejected by Grace."), after=None, verdict=None
    )
    markdown = render(rejected)
    assert markdown.splitlines()[0].endswith(": rejected")
    assert field(markdown, "approval") == "rejected by Grace \\| ops: Not before the sale."
    assert "- Migrated: the migration did not finish in this run." in section(markdown, "What was done")
    assert section(markdown, "Rollback") == ["Nothing was changed. No action is needed."]


@pytest.mark.parametrize(
    ("reversibility", "losses", "sentence"),
    [
        (
            "lossy",
            ("a.note: 3 values before, 0 after",),
            "The downgrade does not restore everything: a.note: 3 values before, 0 after.",
        ),
        ("does nothing", ("+CREATE TABLE b",), "The downgrade changes nothing: +CREATE TABLE b."),
        ("fails", ("It ended with 1.",), "The downgrade fails: It ended with 1."),
    ],
)
def test_a_downgrade_that_does_not_restore_everything_is_described(
    reversibility: Reversibility, losses: tuple[str, ...], sentence: str
) -> None:
    """The sentence names everything that the downgrade did not restore on the copy."""
    assert format_reversibility(Rehearsal(reversibility=reversibility, losses=losses)) == sentence
