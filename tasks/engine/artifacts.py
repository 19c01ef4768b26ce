"""The artifacts of a step in the Prefect UI: findings and times as tables, verdict and record as Markdown."""

from __future__ import annotations

import base64
from functools import singledispatch

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from slipway.auditing.report import Audit
from slipway.backfilling.outcomes import Backfilled
from slipway.caching.outcomes import Purged
from slipway.config.plan import Plan, PurgePlan
from slipway.measurement.history import Trend
from slipway.measurement.measure import summarise
from slipway.measurement.samples import MeasuredWindow, Verdict
from slipway.measurement.warm_up import remarks
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping.outcomes import Decision, Inspection, Record
from slipway.shipping.record import PICTURES, verdict_table
from slipway.shipping.rehearsal_report import report, trend_report


def publish(step: str, outcome: object) -> None:
    """Show an outcome as an artifact of the task run. Most outcomes have none. A repeated step shows the newer outcome."""
    _publish(outcome, step.replace(" ", "-"))


def is_shown(outcome: object) -> bool:
    """Return whether outcomes of this kind have an artifact."""
    return _publish.dispatch(type(outcome)) is not _publish.dispatch(object)


@singledispatch
def _publish(outcome: object, key: str) -> None:
    return None


@_publish.register
def _(outcome: Inspection, key: str) -> None:
    rows = [finding.model_dump() for finding in outcome.findings]
    create_table_artifact(key=f"findings-{key}", table=rows, description="Findings on the routes of the change")


@_publish.register
def _(outcome: Plan, key: str) -> None:
    purge_plan = outcome.leaving or PurgePlan(routes=())
    rows = [{"purged": route, "because": "the change names the route or its id"} for route in purge_plan.routes]
    rows += [
        {"purged": f"every page with the tag {tag}", "because": "the change names the tag"} for tag in purge_plan.tags
    ]
    rows += [{"purged": route, "because": "the page has one of the tags"} for route in purge_plan.tagged]
    create_table_artifact(key=key, table=rows, description="All pages that the purge will remove from the cache")


@_publish.register
def _(outcome: Purged, key: str) -> None:
    rows = [finding.model_dump() for finding in outcome.findings]
    create_table_artifact(key=f"findings-{key}", table=rows, description="Other pages that left the cache")


@_publish.register
def _(outcome: Audit, key: str) -> None:
    rows = [item.model_dump() | {"evidence": "; ".join(item.evidence)} for item in outcome.items]
    create_table_artifact(key=key, table=rows, description=f"The checklist of {outcome.service}: {outcome.sentence}")


@_publish.register
def _(outcome: Rehearsal, key: str) -> None:
    create_markdown_artifact(
        key=key, markdown=report(outcome), description="The migration on a copy of the live database"
    )


@_publish.register
def _(outcome: MeasuredWindow, key: str) -> None:
    rows = [
        {"route": line.target.route, "identity": line.target.identity} | line.model_dump(exclude={"target"})
        for line in summarise(outcome)
    ]
    description = " ".join([f"{outcome.seconds:.0f} s of open-loop requests, times in ms.", *remarks(outcome)])
    create_table_artifact(key=key, table=rows, description=description)


@_publish.register
def _(outcome: Verdict, key: str) -> None:
    create_markdown_artifact(
        key=key, markdown="\n".join([f"# {outcome.verdict}", "", outcome.sentence, "", *verdict_table(outcome)])
    )


@_publish.register
def _(outcome: Decision, key: str) -> None:
    create_markdown_artifact(
        key=key, markdown=f"# {outcome.word}\n\n{outcome.reason}\n", description="The decision about the change"
    )


@_publish.register
def _(outcome: Backfilled, key: str) -> None:
    rows = [row.model_dump() for row in outcome.skipped]
    summary = f"Skipped rows ({outcome.rows_passed:,} rows passed, {outcome.rows_changed:,} changed)"
    create_table_artifact(key=f"skipped-{key}", table=rows, description=summary)


@_publish.register
def _(outcome: Trend, key: str) -> None:
    picture = f"![The last 30 days]({_inline(outcome.picture_svg)})"
    create_markdown_artifact(key=key, markdown=f"{trend_report(outcome)}\n{picture}\n", description="30 days")


@_publish.register
def _(outcome: Record, key: str) -> None:
    create_markdown_artifact(key=key, markdown=with_picture(outcome), description=outcome.path)


def with_picture(record: Record) -> str:
    """Return the record's Markdown with the picture inline, for readers that cannot open the picture's file."""
    markdown = record.markdown
    for name in PICTURES:
        markdown = markdown.replace(f"({name})", f"({_inline(record.picture_svg)})")
    return markdown


def _inline(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
