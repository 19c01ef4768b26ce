"""From a verdict, or from a failure, to a decision. Fail closed: only a verdict that meets the change's own demand keeps it.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.config.change import Judge
from slipway.core.formatting import ended
from slipway.measurement.judge import meets
from slipway.measurement.samples import TargetVerdict, Verdict
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping.outcomes import Approval, Decision, DecisionWord, Failure


def decide(verdict: Verdict, judge: Judge, rehearsal: Rehearsal) -> Decision:
    """Keep when the demand is met, otherwise what the change says for a regression or for an open question."""
    if meets(verdict, judge.require):
        return Decision(word="keep", reason=f"Required: {judge.require}. {verdict.sentence}")
    wanted = judge.on_inconclusive if open_question(verdict) else judge.on_regressed
    return _possible(wanted, f"Required: {judge.require}. {verdict.sentence}", rehearsal)


def decide_on_rejection(approval: Approval) -> Decision:
    """A person said no, before anything was changed."""
    return Decision(word="reject", reason=f"Rejected by {approval.by}: {ended(approval.why)} Nothing was changed.")


def decide_on_rehearsal(rehearsal: Rehearsal, accepted: Sequence[str]) -> Decision | None:
    """Reject a change whose rehearsal found an error that its owner has not accepted by name; None goes on."""
    errors = [finding for finding in rehearsal.findings if finding.level == "error" and finding.code not in accepted]
    if not errors:
        return None
    told = " ".join(f"{finding.code}: {finding.summary}" for finding in errors)
    return Decision(word="reject", reason=f"The rehearsal found what stands against it. {told} Nothing was changed.")


def worth_extending(verdict: Verdict) -> bool:
    """Whether to measure once more before anything is decided: an open question, or a regression of the tail alone.

    A 90th percentile of a few dozen requests moves by itself now and then, while the median does not; a change is not
    taken back for that before it has been seen in twice as many bursts, at half the alpha.
    """
    regressed = [target for target in verdict.targets if target.verdict == "regressed"]
    return open_question(verdict) or (bool(regressed) and all(_in_the_tail(t, verdict.margin) for t in regressed))


def _in_the_tail(target: TargetVerdict, margin: float) -> bool:
    if target.median is None or target.p90 is None or target.errors_after > target.errors_before:
        return False
    return target.median.ratio < 1 + margin <= target.p90.ratio


def open_question(verdict: Verdict) -> bool:
    """Whether more samples could still change the answer: inconclusive, or the environment moved."""
    return verdict.verdict in ("inconclusive", "environment-shift")


def decide_on_failure(failure: Failure, rehearsal: Rehearsal) -> Decision:
    """The migration or a step after it failed: back when the rehearsal proved the way back, else a person decides.

    A database that stands between two revisions is a person's, too: a downgrade from there would be a guess.
    """
    reason = f"The migration or a step after it failed. {failure.words}"
    if failure.for_a_person:
        return Decision(word="freeze", reason=f"{reason} A person has to look before anything else is done.")
    return _possible("roll back", reason, rehearsal)


def _possible(wanted: DecisionWord, reason: str, rehearsal: Rehearsal) -> Decision:
    proven = rehearsal.reversibility in ("lossless", "nothing to migrate")
    if wanted == "roll back" and not proven:
        return Decision(word="freeze", reason=f"{reason} {_no_way_back(rehearsal)}")
    return Decision(word=wanted, reason=reason)


def _no_way_back(rehearsal: Rehearsal) -> str:
    what = {"lossy": "lost something", "does nothing": "did nothing", "fails": "failed"}[rehearsal.reversibility]
    return f"On the copy the way back {what} ({'; '.join(rehearsal.losses)[:500]}), so a person decides."
