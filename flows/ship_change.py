"""Ship one change: from request to record."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from slipway.auditing.results import findings_of, unfit
from slipway.config.change import ChangeName, OnStaging
from slipway.config.plan import Plan
from slipway.core.errors import SlipwayError
from slipway.flows.card import card
from slipway.flows.endings import NAMES, failed_on_the_way_back, final_state, without_record
from slipway.flows.service_hold import give_up_on, while_held
from slipway.measurement.samples import MeasuredWindow, Verdict
from slipway.migrations.outcomes import Migration, Rehearsal
from slipway.shipping.decide import decide_on_rehearsal, decide_on_rejection, worth_extending
from slipway.shipping.outcomes import Failure
from slipway.shipping.record import ShipReport
from slipway.tasks.approval import wait_for_approval
from slipway.tasks.audit import audit_service
from slipway.tasks.engine.attempts import Cancelled, StoppedBefore, cancelled_by, run_id, shield
from slipway.tasks.inspect_headers import inspect_headers
from slipway.tasks.judge import decide, judge
from slipway.tasks.look import has_begun
from slipway.tasks.measure import measure
from slipway.tasks.migrate import migrate
from slipway.tasks.purge import purge
from slipway.tasks.record import write_record
from slipway.tasks.rehearse import rehearse
from slipway.tasks.roll_back import roll_back
from slipway.tasks.staging import look_at_staging
from slipway.tasks.validate import validate

CARD = card(
    "Ships one change to a live service: rehearsed on a copy, measured before and after, kept only when the numbers allow.",
    owner="the owner named in the change file",
    expected="Ends as Kept, RolledBack or Frozen within a few minutes, with a record beside the change.",
    rollback="It rolls back by itself after a bad verdict; later, the job roll-back-change does.",
)


@flow(name="ship-change", flow_run_name="ship-change {change}", description=CARD)
def ship_change(change: ChangeName, staging: OnStaging = False) -> State[str]:
    """Validate, inspect, measure, rehearse, migrate, purge, measure again, judge, decide, record.

    Args:
        change: the folder below changes/
        staging: on the staging service of the change's service
    """
    return while_held(partial(validate, change, staging), ship, partial(give_up_on, change, staging))


def ship(plan: Plan) -> State[str]:
    """The change while its service is held."""
    staged = look_at_staging(plan) if plan.service.staging is not None else None
    audited = audit_service(plan.service) if plan.change.audit else None
    if audited is not None and (why := unfit(audited, plan.change.audit)):
        return Failed(name="NotFit", message=why)
    inspection = inspect_headers(plan)
    before = measure(plan, label="before")
    rehearsal = rehearse(plan)
    told = ShipReport(
        run_id=run_id(),
        at=datetime.now(UTC),
        plan=plan,
        staged=staged,
        findings=inspection.findings + (findings_of(audited) if audited else ()),
        rehearsal=rehearsal,
        before=before,
    )
    rejected = decide_on_rehearsal(rehearsal, plan.change.rehearse.accept)
    if rejected is not None:
        return settle(told.model_copy(update={"decision": rejected}))
    approval = wait_for_approval(plan)
    told = told.model_copy(update={"approval": approval})
    if approval is not None and not approval.approved:
        return settle(told.model_copy(update={"decision": decide_on_rejection(approval)}))
    return settle(apply(told))


def apply(told: ShipReport) -> ShipReport:
    """From the migration to the decision; whatever goes wrong from here on leads to a decision, a cancel too."""
    plan = told.plan
    migration = purged = after = verdict = None
    failure = None
    try:
        migration = migrate_unless_cancelled(plan, told.rehearsal)
        purged = purge(plan, label="after the migration")
        after = measure(plan, label="after")
        verdict = judged(plan, told.before, after)
    except StoppedBefore:
        raise
    except Exception as error:
        failure = told_failure(error)
    with shield():
        decision = decide(plan, verdict, failure, told.rehearsal)
    done = {"migration": migration, "purged": purged, "after": after, "verdict": verdict, "decision": decision}
    return told.model_copy(update=done)


def told_failure(error: Exception) -> Failure:
    """The error in words, and whether it is one that no rule may go on from."""
    return Failure(words=str(error), for_a_person=isinstance(error, SlipwayError) and not error.retry_is_safe)


def migrate_unless_cancelled(plan: Plan, rehearsal: Rehearsal) -> Migration | None:
    """The migration. A cancel that comes just before it stops the run, if no earlier attempt has begun to migrate."""
    try:
        return migrate(plan, rehearsal)
    except Cancelled as cancelled:
        if has_begun(plan):
            raise
        raise StoppedBefore(cancelled.by) from None


def judged(plan: Plan, before: MeasuredWindow, after: MeasuredWindow) -> Verdict:
    """The verdict; an open question, or a slow tail alone, is measured once more, judged at half the alpha, and stands."""
    verdict = judge(plan, before, after, label="once")
    if not worth_extending(verdict):
        return verdict
    extension = measure(plan, label="extension")
    return judge(plan, before, after, extension, label="extended")


def settle(story: ShipReport) -> State[str]:
    """Do what was decided, to its end, and write the record."""
    with shield():
        if story.decided.word == "roll back":
            try:
                story = undo(story)
            except Exception as error:  # whatever it was, a person has to know
                return failed_on_the_way_back(story.plan, error)
        try:
            write_record(story)
        except Exception as error:
            return without_record(NAMES[story.decided.word], story.decided.reason, error)
    return final_state(story.decided, cancelled_by())


def undo(story: ShipReport) -> ShipReport:
    """The way back, and the proof: the database, the cache and the times are those of before."""
    reverted = roll_back(story.plan, story.rehearsal)
    purged = purge(story.plan, label="after the roll back")
    window = measure(story.plan, label="restored")
    restored = judge(story.plan, story.before, window, label="restored")
    return story.model_copy(update={"reverted": reverted, "purged_again": purged, "restored": restored})
