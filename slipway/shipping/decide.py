"""Decide what happens to a change after a verdict, a rejection or a failure.

Fail closed: a change is kept only if the verdict meets the requirement of its change file. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.config.change import Judge
from slipway.core.formatting import with_full_stop
from slipway.measurement.judge import meets
from slipway.measurement.samples import TargetVerdict, Verdict
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping.outcomes import Approval, Decision, DecisionWord, Failure

FIX_ERRORS = "Fix the errors, or accept their codes with `accept` in [rehearse]."


def decide(verdict: Verdict, judge: Judge, rehearsal: Rehearsal) -> Decision:
    """Return "keep" if the verdict meets the requirement, otherwise `on_inconclusive` or `on_regressed` of the change."""
    if meets(verdict, judge.require):
        return Decision(word="keep", reason=f"Required: {judge.require}. {verdict.sentence}")
    word = judge.on_inconclusive if open_question(verdict) else judge.on_regressed
    return _checked_decision(word, f"Required: {judge.require}. {verdict.sentence}", rehearsal)


def decide_on_rejection(approval: Approval) -> Decision:
    """Return the decision "reject" for a change that was not approved. Nothing has been changed at this point."""
    return Decision(
        word="reject", reason=f"Rejected by {approval.by}: {with_full_stop(approval.why)} Nothing was changed."
    )


def decide_on_rehearsal(rehearsal: Rehearsal, accepted: Sequence[str]) -> Decision | None:
    """Return "reject" if the rehearsal found an error whose code is not in `accepted`, otherwise None."""
    errors = [finding for finding in rehearsal.findings if finding.level == "error" and finding.code not in accepted]
    if not errors:
        return None
    summaries = " ".join(f"{finding.code}: {finding.summary}" for finding in errors)
    return Decision(word="reject", reason=f"The rehearsal found errors. {summaries} Nothing was changed. {FIX_ERRORS}")


def worth_extending(verdict: Verdict) -> bool:
    """Return whether to measure again before the decision: the verdict is open, or only the 90th percentile regressed.

    The 90th percentile of a few dozen requests varies by chance more than the median. A change is rolled back for it
    only if the regression also shows in twice as many bursts, at half the alpha.
    """
    regressed = [target for target in verdict.targets if target.verdict == "regressed"]
    return open_question(verdict) or (
        bool(regressed) and all(_only_p90_regressed(t, verdict.margin) for t in regressed)
    )


def _only_p90_regressed(target: TargetVerdict, margin: float) -> bool:
    if target.median is None or target.p90 is None or target.errors_after > target.errors_before:
        return False
    return target.median.ratio < 1 + margin <= target.p90.ratio


def open_question(verdict: Verdict) -> bool:
    """Return whether more samples could change the verdict: "inconclusive" or "environment-shift"."""
    return verdict.verdict in ("inconclusive", "environment-shift")


def decide_on_failure(failure: Failure, rehearsal: Rehearsal) -> Decision:
    """Return "roll back" if the rehearsal proved the downgrade, otherwise "freeze", after a failed migration or later step.

    Also "freeze" if the database is between two revisions: the result of a downgrade from there is unknown.
    """
    reason = f"The migration or a step after it failed. {failure.words}"
    if failure.for_a_person:
        return Decision(word="freeze", reason=f"{reason} Check the database by hand before you retry or roll back.")
    return _checked_decision("roll back", reason, rehearsal)


def _checked_decision(word: DecisionWord, reason: str, rehearsal: Rehearsal) -> Decision:
    proven = rehearsal.reversibility in ("lossless", "nothing to migrate")
    if word == "roll back" and not proven:
        return Decision(word="freeze", reason=f"{reason} {_no_safe_downgrade(rehearsal)}")
    return Decision(word=word, reason=reason)


def _no_safe_downgrade(rehearsal: Rehearsal) -> str:
    result = {"lossy": "lost data or schema", "does nothing": "changed nothing", "fails": "failed"}[
        rehearsal.reversibility
    ]
    losses = "; ".join(rehearsal.losses)[:500]
    return f"In the rehearsal the downgrade {result} ({losses}), so it is not run automatically."
