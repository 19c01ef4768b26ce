"""Ship one change: from request to record."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.cards import card
from slipway.change import ChangeName
from slipway.errors import SlipwayError
from slipway.measurement import MeasuredWindow, Verdict
from slipway.outcomes import Decision, Inspection, Plan, Rehearsal
from slipway.record import Story
from slipway.rules.deciding import open_question
from tasks.durable import run_id
from tasks.hold import hold_service, release_service
from tasks.inspect_headers import inspect_headers
from tasks.judge import decide, judge
from tasks.measure import measure
from tasks.migrate import migrate
from tasks.purge import purge
from tasks.record import write_record
from tasks.rehearse import rehearse
from tasks.roll_back import roll_back
from tasks.validate import validate

CARD = card(
    "Ships one change to a live service: rehearsed on a copy, measured before and after, kept only when the numbers allow.",
    owner="the owner named in the change file",
    expected="Ends as Kept, RolledBack or Frozen within a few minutes, with a record beside the change.",
    rollback="It rolls back by itself after a bad verdict; later, the job roll-back-change does.",
)


@flow(name="ship-change", flow_run_name="ship-change {change}", description=CARD)
def ship_change(change: ChangeName) -> State[str]:
    """Validate, inspect, measure, rehearse, migrate, purge, measure again, judge, decide, record."""
    plan = validate(change)
    hold_service(plan)
    try:
        inspection = inspect_headers(plan)
        before = measure(plan, label="before")
        rehearsal = rehearse(plan)
        story = apply(plan, inspection, before, rehearsal)
        story = undo(story) if story.decision.word == "roll back" else story
        write_record(story)
    finally:
        release_service(plan)
    return final_state(story.decision)


def apply(plan: Plan, inspection: Inspection, before: MeasuredWindow, rehearsal: Rehearsal) -> Story:
    """From the migration to the decision; whatever fails after the migration began leads to a decision, too."""
    migration = purged = after = verdict = None
    failure = ""
    try:
        migration = migrate(plan)
        purged = purge(plan, label="after the migration")
        after = measure(plan, label="after")
        verdict, after = judged(plan, before, after)
    except SlipwayError as error:
        failure = str(error)
    return Story(
        run_id=run_id(),
        at=datetime.now(UTC),
        plan=plan,
        findings=inspection.findings,
        rehearsal=rehearsal,
        before=before,
        migration=migration,
        purged=purged,
        after=after,
        verdict=verdict,
        decision=decide(plan, verdict, failure, rehearsal),
    )


def judged(plan: Plan, before: MeasuredWindow, after: MeasuredWindow) -> tuple[Verdict, MeasuredWindow]:
    """The verdict; an open question is measured once more and judged at half the alpha, and then it stands."""
    verdict = judge(plan, before, after, label="once")
    if not open_question(verdict):
        return verdict, after
    extension = measure(plan, label="extension")
    return judge(plan, before, after, extension, label="extended"), after


def undo(story: Story) -> Story:
    """The way back, and the proof: the database, the cache and the times are those of before."""
    reverted = roll_back(story.plan)
    purged = purge(story.plan, label="after the roll back")
    window = measure(story.plan, label="restored")
    restored = judge(story.plan, story.before, window, label="restored")
    return story.model_copy(update={"reverted": reverted, "purged_again": purged, "restored": restored})


def final_state(decision: Decision) -> State[str]:
    """How the run ends in Prefect: a frozen change needs a person, so it counts as failed."""
    if decision.word == "freeze":
        return Failed(name="Frozen", message=decision.reason)
    return Completed(
        name="Kept" if decision.word == "keep" else "RolledBack", message=decision.reason, data=decision.word
    )
