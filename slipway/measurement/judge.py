"""Judge what a change did to its targets, from a window before the change and a window after it. Pure.

Drift is the main source of error: an unchanged service can be a third slower one minute later. Therefore each target is
compared, burst by burst, with a control: a route of the same cache class that the change cannot affect. The probe
alternates between target and control. For each burst d = ln median(target) − ln median(control). Drift slows target and
control alike, so d does not change. The exponential of mean(d after) − mean(d before) is the ratio after / before; the
exponential of Welch's interval is the confidence interval of the ratio. The 90th percentile is compared in the same way.
The p-values of all targets, for median and 90th percentile, are adjusted together (Holm).

A median or a 90th percentile is
  regressed     if the ratio is significant and at least 1 + margin, and the change is at least `floor_ms`;
  improved      if the ratio is significant and at most 1 / (1 + margin), and the change is at least `floor_ms`;
  same          if each end of the interval lies within 1 / (1 + margin) … 1 + margin, or is a change of less than `floor_ms`;
  inconclusive  otherwise.
A target is
  regressed     if its median or its 90th percentile regressed, or if the rules for errors or for cache hits say so;
  improved      if its median improved and its 90th percentile did not regress;
  same          if its median is the same and its 90th percentile did not regress. The verdict is environment-shift instead
                if the control changed by more than the margin and the floor: something slowed or sped up both;
  inconclusive  otherwise, and if data is missing or too little. Missing data is never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from slipway.config.change import Pair
from slipway.core.formatting import milliseconds, percent, times
from slipway.measurement.bursts import MINIMUM_BURSTS, MINIMUM_REQUESTS
from slipway.measurement.comparison import Change, ComparedPair, adjust_p_values, compare_latency, compare_windows, p90
from slipway.measurement.formatting import interval
from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, TargetVerdict, Verdict, VerdictWord
from slipway.measurement.statistics import fisher_more

WORST_FIRST: tuple[VerdictWord, ...] = ("regressed", "inconclusive", "environment-shift", "improved", "same")
PHASES = ("before", "after")
MINIMUM_MORE_ERRORS = 3  # fewer additional errors are never a regression
MAXIMUM_ERROR_RATIO_BEFORE = 0.05  # a target with a larger error ratio before the change cannot be compared
MINIMUM_HIT_RATIO_LOSS = 0.05  # a smaller loss of the cache hit ratio is never a regression


@dataclass(frozen=True)
class _Rule:
    margin: float
    alpha: float
    floor_ms: float
    targets: int

    @property
    def target_alpha(self) -> float:
        """The significance level of a target's tests on errors and hits (Bonferroni; Holm does not cover these rare cases)."""
        return self.alpha / max(1, self.targets)

    def within_margin(self, ratio: float) -> bool:
        return 1 / (1 + self.margin) < ratio < 1 + self.margin

    def below_floor(self, before_ms: float, ratio: float) -> bool:
        """Return whether a ratio is a change of less than the floor, as for a cache hit that takes a fraction of the floor."""
        return abs(ratio - 1) * before_ms < self.floor_ms

    def exceeded(self, before_ms: float, ratio: float) -> bool:
        return not 1 / (1 + self.margin) <= ratio <= 1 + self.margin and not self.below_floor(before_ms, ratio)


def judge(
    before: MeasuredWindow,
    after: MeasuredWindow,
    pairs: Sequence[Pair],
    *,
    margin: float = 0.10,
    alpha: float = 0.05,
    floor_ms: float = 0.5,
) -> Verdict:
    """Return the verdict on each target of `pairs` and the overall verdict, by the rules at the top of this module.

    `margin` is the smallest relevant change as a share, `floor_ms` the smallest relevant change in milliseconds. `alpha`
    is the significance level; every interval has the confidence 1 − `alpha`. An inconclusive comparison may be extended
    once (`extended`) and judged again at half the alpha. Judging more often would raise the rate of false alarms.
    """
    rule = _Rule(margin, alpha, floor_ms, len(pairs))
    compared_pairs = [compare_windows(before, after, pair) for pair in pairs]
    changes = adjust_p_values([compare_latency(compared, alpha) for compared in compared_pairs])
    targets = [
        _judge_target(compared, own_changes, rule)
        for compared, own_changes in zip(compared_pairs, changes, strict=True)
    ]
    targets.sort(key=lambda target: WORST_FIRST.index(target.verdict))
    return Verdict(
        verdict=targets[0].verdict if targets else "inconclusive",
        sentence=_summarise(targets),
        margin=margin,
        alpha=alpha,
        targets=tuple(targets),
    )


def meets(verdict: Verdict, require: Literal["improved", "not-regressed"]) -> bool:
    """Return whether a verdict meets the requirement of the change; inconclusive and environment-shift never do."""
    return verdict.verdict == "improved" or (require == "not-regressed" and verdict.verdict == "same")


def extended(first: MeasuredWindow, extension: MeasuredWindow) -> MeasuredWindow:
    """Return one window: the bursts of `first`, then those of `extension`, with burst numbers and due times continued."""
    merged = {_key(measurement): measurement.samples for measurement in first.measurements}
    for measurement in extension.measurements:
        moved = (s._replace(burst=s.burst + first.bursts, due_s=s.due_s + first.seconds) for s in measurement.samples)
        merged[_key(measurement)] = (*merged.get(_key(measurement), ()), *moved)
    return first.model_copy(
        update={
            "seconds": first.seconds + extension.seconds,
            "bursts": first.bursts + extension.bursts,
            "requests": min(first.requests, extension.requests),
            "measurements": tuple(
                Measurement(route=route, identity=identity, cache=cache, samples=samples)
                for (route, identity, cache), samples in merged.items()
            ),
        }
    )


def _key(measurement: Measurement) -> tuple[str, str, CacheClass]:
    return measurement.route, measurement.identity, measurement.cache


def _judge_target(compared: ComparedPair, changes: list[Change], rule: _Rule) -> TargetVerdict:
    verdict, reason = _judge_without_latency(compared, rule) or _judge_latency(compared, changes, rule)
    medians, p90s = compared.before_and_after(compared.target, median), compared.before_and_after(compared.target, p90)
    controls = compared.before_and_after(compared.control, median)
    hits = _hit_ratios(compared)
    return TargetVerdict(
        route=compared.pair.route,
        identity=compared.pair.identity,
        cache=compared.cache,
        verdict=verdict,
        sentence=f"{compared.name}: {reason}: {verdict}.",
        median_before_ms=medians[0],
        median_after_ms=medians[1],
        p90_before_ms=p90s[0],
        p90_after_ms=p90s[1],
        median=changes[0].ratio if changes else None,
        p90=changes[1].ratio if changes else None,
        p_value=changes[0].p_value if changes else None,
        p90_p_value=changes[1].p_value if changes else None,
        control_before_ms=controls[0],
        control_after_ms=controls[1],
        control_ratio=compared.control_ratio,
        bursts_before=len(compared.bursts(0)),
        bursts_after=len(compared.bursts(1)),
        requests_before=compared.target[0].requests,
        requests_after=compared.target[1].requests,
        errors_before=compared.target[0].errors,
        errors_after=compared.target[1].errors,
        hit_ratio_before=hits[0],
        hit_ratio_after=hits[1],
    )


_Finding = tuple[VerdictWord, str]  # a verdict and its reason


def _judge_without_latency(compared: ComparedPair, rule: _Rule) -> _Finding | None:
    """Return the first finding of the rules that do not use latency; None if there is none."""
    checks = (_check_target, _check_errors, _check_hit_ratio, _check_control, _check_bursts)
    return next((finding for check in checks if (finding := check(compared, rule))), None)


def _check_target(compared: ComparedPair, rule: _Rule) -> _Finding | None:
    if compared.name == compared.control_name:
        return "inconclusive", "the target is its own control, choose another route as control"
    for target, phase in zip(compared.target, PHASES, strict=True):
        if not target.requests:
            return "inconclusive", f"no requests were measured {phase} the change"
    return None


def _check_errors(compared: ComparedPair, rule: _Rule) -> _Finding | None:
    """Check errors: significantly more after the change (Fisher) and at least three more, or too many before the change."""
    before, after = compared.target
    more = after.errors - before.errors * after.requests / before.requests
    p_value = fisher_more(before.errors, before.requests, after.errors, after.requests)
    if more >= MINIMUM_MORE_ERRORS and p_value < rule.target_alpha:
        counts = f"{before.errors} of {before.requests} → {after.errors} of {after.requests}"
        return "regressed", f"failed requests {counts}"
    if before.errors > MAXIMUM_ERROR_RATIO_BEFORE * before.requests:
        failed = f"{before.errors} of {before.requests} requests failed before the change"
        return "inconclusive", f"{failed}, more than {percent(MAXIMUM_ERROR_RATIO_BEFORE)}"
    return None


def _check_hit_ratio(compared: ComparedPair, rule: _Rule) -> _Finding | None:
    """Check the cache hit ratio of the successful responses: a significant loss (Fisher) of at least five points."""
    before, after = compared.target
    ratio_before, ratio_after = _hit_ratios(compared)
    if ratio_before is None or ratio_after is None or ratio_before - ratio_after < MINIMUM_HIT_RATIO_LOSS:
        return None
    p_value = fisher_more(before.answers - before.hits, before.answers, after.answers - after.hits, after.answers)
    if p_value >= rule.target_alpha:
        return None
    return "regressed", f"cache hit ratio {percent(ratio_before)} → {percent(ratio_after)}{_class_change(compared)}"


def _check_control(compared: ComparedPair, rule: _Rule) -> _Finding | None:
    for control, phase in zip(compared.control, PHASES, strict=True):
        if control.dominant is None:
            return "inconclusive", f"the control {compared.control_name} has no successful response {phase} the change"
        if control.dominant != compared.cache:
            classes = f"the control {compared.control_name} is mostly {control.dominant} {phase} the change"
            return "inconclusive", f"{classes}, but the target is {compared.cache}; their cache classes must match"
    return None


def _check_bursts(compared: ComparedPair, rule: _Rule) -> _Finding | None:
    before, after = (len(compared.bursts(phase)) for phase in (0, 1))
    if min(before, after) >= MINIMUM_BURSTS:
        return None
    counts = f"{before} bursts before and {after} after the change are usable, {MINIMUM_BURSTS} are required"
    usable = f"at least {MINIMUM_REQUESTS} successful {compared.cache} responses each from target and control"
    return "inconclusive", f"{counts} ({usable}){_class_change(compared)}"


def _hit_ratios(compared: ComparedPair) -> tuple[float | None, float | None]:
    """Return the cache hit ratio of the successful responses before and after; None for a target that is never cached."""
    if not any(cache in target.samples for target in compared.target for cache in ("hit", "miss")):
        return None, None
    before, after = (target.hits / target.answers if target.answers else None for target in compared.target)
    return before, after


def _class_change(compared: ComparedPair) -> str:
    """Return a clause about a changed cache class; empty if the class is unchanged."""
    after = compared.target[1].dominant
    return "" if after in (compared.cache, None) else f"; cache class of most responses {compared.cache} → {after}"


def _judge_latency(compared: ComparedPair, changes: list[Change], rule: _Rule) -> _Finding:
    """Combine the verdicts on the median and on the 90th percentile, by the rules at the top of this module."""
    median_change, p90_change = changes
    verdicts = [_classify(change, rule) for change in changes]
    before_after = milliseconds(median_change.before_ms, median_change.after_ms)
    reason = f"median {before_after}, {interval(median_change.ratio)}"
    if verdicts[0] != "regressed" and verdicts[1] == "regressed":
        reason += f"; p90 {milliseconds(p90_change.before_ms, p90_change.after_ms)}, {interval(p90_change.ratio)}"
    verdict: VerdictWord = "regressed" if "regressed" in verdicts else verdicts[0]
    if verdict == "inconclusive" or (verdict == "same" and _outside_margin(median_change, rule)):
        reason += f"; {_explain_doubt(median_change, rule)}"
    control_ms, _ = compared.before_and_after(compared.control, median)
    shifted = rule.exceeded(control_ms or 0.0, compared.control_ratio or 1.0)
    if shifted:
        reason += f"; {_describe_control_change(compared)}"
    return "environment-shift" if shifted and verdict == "same" else verdict, reason + _class_change(compared)


def _classify(change: Change, rule: _Rule) -> VerdictWord:
    ratio = change.ratio
    if _outside_margin(change, rule) and change.worth_ms >= rule.floor_ms:
        return "regressed" if ratio.ratio > 1 else "improved"
    if all(rule.within_margin(end) or rule.below_floor(change.before_ms, end) for end in (ratio.low, ratio.high)):
        return "same"
    return "inconclusive"


def _outside_margin(change: Change, rule: _Rule) -> bool:
    """Return whether a ratio is significant, also after Holm's adjustment, and differs from 1 by at least the margin."""
    one_sided = change.ratio.low > 1 or change.ratio.high < 1
    return one_sided and change.p_value < rule.alpha and not rule.within_margin(change.ratio.ratio)


def _explain_doubt(change: Change, rule: _Rule) -> str:
    if _outside_margin(change, rule):
        return f"the change of {change.worth_ms:.2f} ms is below the threshold of {rule.floor_ms:g} ms"
    return f"too uncertain to decide at a margin of {percent(rule.margin)}"


def _describe_control_change(compared: ComparedPair) -> str:
    before, after = compared.before_and_after(compared.control, median)
    change = f"{milliseconds(before or 0.0, after or 0.0)}, {times(compared.control_ratio or 1.0)}"
    return f"the control route also changed, {change}"


def _summarise(targets: Sequence[TargetVerdict]) -> str:
    """Return one sentence about all targets, the worst first."""
    if not targets:
        return "No target to judge: inconclusive."
    worst = targets[0]
    if len(targets) == 1:
        return worst.sentence
    alike = sum(target.verdict == worst.verdict for target in targets)
    return f"{alike} of {len(targets)} targets: {worst.verdict}. {worst.sentence}"
