from slipway.config.plan import Plan
from slipway.measurement import judge as judging
from slipway.measurement.samples import MeasuredWindow, Verdict
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping import decide as deciding
from slipway.shipping.outcomes import Decision, Failure
from slipway.tasks.engine.durable import durable

ALPHA = 0.05


@durable("judge")
def judge(
    plan: Plan, before: MeasuredWindow, after: MeasuredWindow, extension: MeasuredWindow | None = None, *, label: str
) -> Verdict:
    """Judge after against before, by half the alpha once extended. Repeated, it says the same of the same numbers."""
    whole = after if extension is None else judging.joined(after, extension)
    alpha = ALPHA if extension is None else ALPHA / 2
    return judging.judge(before, whole, plan.change.pairs(), margin=plan.change.judge.margin, alpha=alpha)


@durable("decide")
def decide(plan: Plan, verdict: Verdict | None, failure: Failure | None, rehearsal: Rehearsal) -> Decision:
    """Decide by the verdict, or by the failure that came instead. Repeated, it decides the same."""
    if failure is not None:
        return deciding.decide_on_failure(failure, rehearsal)
    assert verdict is not None, "without a failure there is a verdict"
    return deciding.decide(verdict, plan.change.judge, rehearsal)
