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
    """Compare `after` with `before`, at half the alpha if there is an extension. If repeated, it returns the same verdict."""
    window = after if extension is None else judging.extended(after, extension)
    alpha = ALPHA if extension is None else ALPHA / 2
    return judging.judge(before, window, plan.change.pairs(), margin=plan.change.judge.margin, alpha=alpha)


@durable("decide")
def decide(plan: Plan, verdict: Verdict | None, failure: Failure | None, rehearsal: Rehearsal) -> Decision:
    """Decide from the verdict, or from the failure if there is no verdict. If repeated, it makes the same decision."""
    if failure is not None:
        return deciding.decide_on_failure(failure, rehearsal)
    assert verdict is not None, "a run without a failure has a verdict"
    return deciding.decide(verdict, plan.change.judge, rehearsal)
