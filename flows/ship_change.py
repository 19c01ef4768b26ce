"""Ship one change, from validation to the record."""

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
from slipway.flows.endings import NAMES, final_state, not_recorded, rollback_failed
from slipway.flows.service_hold import give_up_on, run_with_service_lock
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
from slipway.tasks.staging import require_staged
from slipway.tasks.validate import validate

CARD = card(
    "Ships one change to a live service: rehearses on a copy, measures before and after, keeps the change if times are good.",
    owner="the owner named in the change file",
    expected="The run ends as Kept, RolledBack or Frozen within a few minutes and writes a record next to the change.",
    rollback="Automatic after a bad verdict. Later, run the job roll-back-change.",
)


@flow(name="ship-change", flow_run_name="ship-change {change}", description=CARD)
def ship_change(change: ChangeName, staging: OnStaging = False) -> State[str]:
    """Validate, inspect, measure, rehearse, migrate, purge, measure again, judge, decide, record.

    Args:
        change: the folder below changes/
        staging: run on the staging service of the change's service
    """
    return run_with_service_lock(partial(validate, change, staging), ship, partial(give_up_on, change, staging))


def ship(plan: Plan) -> State[str]:
    """Ship the change under the service lock."""
    staged = require_staged(plan) if plan.service.staging is not None else None
    audit = audit_service(plan.service) if plan.change.audit else None
    if audit is not None and (reason := unfit(audit, plan.change.audit)):
        return Failed(name="NotFit", message=reason)
    inspection = inspect_headers(plan)
    before = measure(plan, label="before")
    rehearsal = rehearse(plan)
    report = ShipReport(
        run_id=run_id(),
        at=datetime.now(UTC),
        plan=plan,
        staged=staged,
        findings=inspection.findings + (findings_of(audit) if audit else ()),
        rehearsal=rehearsal,
        before=before,
    )
    rejected = decide_on_rehearsal(rehearsal, plan.change.rehearse.accept)
    if rejected is not None:
        return carry_out(report.model_copy(update={"decision": rejected}))
    approval = wait_for_approval(plan)
    report = report.model_copy(update={"approval": approval})
    if approval is not None and not approval.approved:
        return carry_out(report.model_copy(update={"decision": decide_on_rejection(approval)}))
    return carry_out(apply(report))


def apply(report: ShipReport) -> ShipReport:
    """Run the steps from the migration to the decision. From here on every error and every cancellation leads to a decision."""
    plan = report.plan
    migration = purged = after = verdict = None
    failure = None
    try:
        migration = migrate_unless_cancelled(plan, report.rehearsal)
        purged = purge(plan, label="after the migration")
        after = measure(plan, label="after")
        verdict = judge_with_extension(plan, report.before, after)
    except StoppedBefore:
        raise
    except Exception as error:
        failure = failure_of(error)
    with shield():
        decision = decide(plan, verdict, failure, report.rehearsal)
    results = {"migration": migration, "purged": purged, "after": after, "verdict": verdict, "decision": decision}
    return report.model_copy(update=results)


def failure_of(error: Exception) -> Failure:
    """Return the error's message, and whether only a person may decide how to continue."""
    return Failure(words=str(error), for_a_person=isinstance(error, SlipwayError) and not error.retry_is_safe)


def migrate_unless_cancelled(plan: Plan, rehearsal: Rehearsal) -> Migration | None:
    """Migrate. A cancellation directly before the migration stops the run, unless an earlier attempt has started to migrate."""
    try:
        return migrate(plan, rehearsal)
    except Cancelled as cancelled:
        if has_begun(plan):
            raise
        raise StoppedBefore(cancelled.by) from None


def judge_with_extension(plan: Plan, before: MeasuredWindow, after: MeasuredWindow) -> Verdict:
    """Return the verdict.

    If the verdict is open, or only the tail is slow, measure once more and judge at half the alpha. That verdict is final.
    """
    verdict = judge(plan, before, after, label="once")
    if not worth_extending(verdict):
        return verdict
    extension = measure(plan, label="extension")
    return judge(plan, before, after, extension, label="extended")


def carry_out(report: ShipReport) -> State[str]:
    """Carry out the decision without interruption, and write the record."""
    with shield():
        if report.decided.word == "roll back":
            try:
                report = undo(report)
            except Exception as error:  # after any error a person has to act
                return rollback_failed(report.plan, error)
        try:
            write_record(report)
        except Exception as error:
            return not_recorded(NAMES[report.decided.word], report.decided.reason, error)
    return final_state(report.decided, cancelled_by())


def undo(report: ShipReport) -> ShipReport:
    """Roll back, and verify that the database, the cache and the response times are as before the change."""
    reverted = roll_back(report.plan, report.rehearsal)
    purged = purge(report.plan, label="after the roll back")
    window = measure(report.plan, label="restored")
    restored = judge(report.plan, report.before, window, label="restored")
    return report.model_copy(update={"reverted": reverted, "purged_again": purged, "restored": restored})
