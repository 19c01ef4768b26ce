"""Judging: what a change did to its targets, from what was measured before and after it. Pure.

The main error of such a comparison is drift: the same service, unchanged, is a third slower a minute later. So a
target is never compared with itself alone but, burst by burst, with an unaffected control of the same cache class that
was asked in turn with it: d = ln median(target) − ln median(control). Drift slows both and leaves d as it was. Welch's
interval of mean(d after) − mean(d before) is, by its exponential, the ratio after / before and its interval. The same
is done with the 90th percentile. The p-values of all targets, median and 90th percentile, are adjusted together (Holm).

A median or 90th percentile is
  regressed     significant, ratio ≥ 1 + margin, and worth at least `floor_ms`; improved is the mirror image;
  same          the whole interval lies inside 1 / (1 + margin) … 1 + margin, or is worth less than `floor_ms`;
  inconclusive  anything else.
A target is
  regressed     when the median or the 90th percentile is, or by its errors or its lost cache hits (rules of their own);
  improved      when the median is, and the 90th percentile is not regressed;
  same          when the median is, and the 90th percentile is not regressed; but environment-shift when the control
                itself moved by more than the margin (and the floor), for then something slowed or sped up both;
  inconclusive  otherwise, and whenever data is missing or too little: no data is never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from slipway.config.change import Pair
from slipway.core.formatting import milliseconds, percent, times
from slipway.measurement.bursts import MINIMUM_BURSTS, MINIMUM_REQUESTS
from slipway.measurement.comparison import Change, ComparedPair, adjusted, changes, look, p90
from slipway.measurement.formatting import interval
from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, TargetVerdict, Verdict, VerdictWord
from slipway.measurement.statistics import fisher_more

WORST_FIRST: tuple[VerdictWord, ...] = ("regressed", "inconclusive", "environment-shift", "improved", "same")
WHEN = ("before", "after")
ERRORS_THAT_COUNT = 3  # fewer additional errors than this are never called a regression
ERRORS_BEFORE = 0.05  # a target with a larger share of errors before the change is too broken to compare with
HITS_LOST = 0.05  # a smaller loss of the share of hits is never called a regression


@dataclass(frozen=True)
class _Rule:
    margin: float
    alpha: float
    floor_ms: float
    targets: int

    @property
    def own_alpha(self) -> float:
        """The level of a target's tests on errors and hits: Bonferroni, these being rare and not in Holm's family."""
        return self.alpha / max(1, self.targets)

    def within(self, ratio: float) -> bool:
        return 1 / (1 + self.margin) < ratio < 1 + self.margin

    def too_small(self, before_ms: float, ratio: float) -> bool:
        """Whether a ratio is worth less than the floor, as it is for a cache hit that takes a fraction of it."""
        return abs(ratio - 1) * before_ms < self.floor_ms

    def moved(self, before_ms: float, ratio: float) -> bool:
        return not 1 / (1 + self.margin) <= ratio <= 1 + self.margin and not self.too_small(before_ms, ratio)


def judge(
    before: MeasuredWindow,
    after: MeasuredWindow,
    pairs: Sequence[Pair],
    *,
    margin: float = 0.10,
    alpha: float = 0.05,
    floor_ms: float = 0.5,
) -> Verdict:
    """Return the verdict on every target of `pairs` and the one over all, by the rules on top of this module.

    `margin` is the smallest change that matters, as a share; `floor_ms` the smallest that matters in milliseconds;
    `alpha` the level of significance, and 1 − `alpha` the confidence of every interval. An inconclusive comparison may
    be extended once (`joined`) and judged again at half the alpha. No other peeking.
    """
    rule = _Rule(margin, alpha, floor_ms, len(pairs))
    seen = [look(before, after, pair) for pair in pairs]
    found = adjusted([changes(each, alpha) for each in seen])
    targets = [_judge_target(each, own, rule) for each, own in zip(seen, found, strict=True)]
    targets.sort(key=lambda target: WORST_FIRST.index(target.verdict))
    return Verdict(
        verdict=targets[0].verdict if targets else "inconclusive",
        sentence=_over_all(targets),
        margin=margin,
        alpha=alpha,
        targets=tuple(targets),
    )


def meets(verdict: Verdict, require: Literal["improved", "not-regressed"]) -> bool:
    """Return whether a verdict is what the change requires; neither inconclusive nor environment-shift ever is."""
    return verdict.verdict == "improved" or (require == "not-regressed" and verdict.verdict == "same")


def joined(first: MeasuredWindow, extension: MeasuredWindow) -> MeasuredWindow:
    """Return one window: the extension's bursts behind the first's, renumbered, and its due times moved likewise."""
    merged = {_key(each): each.samples for each in first.measurements}
    for each in extension.measurements:
        moved = (s._replace(burst=s.burst + first.bursts, due_s=s.due_s + first.seconds) for s in each.samples)
        merged[_key(each)] = (*merged.get(_key(each), ()), *moved)
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


def _judge_target(seen: ComparedPair, found: list[Change], rule: _Rule) -> TargetVerdict:
    word, reason = _by_its_own_rules(seen, rule) or _by_latency(seen, found, rule)
    medians, p90s = seen.middle(seen.target, median), seen.middle(seen.target, p90)
    controls = seen.middle(seen.control, median)
    hits = _hit_ratios(seen)
    return TargetVerdict(
        route=seen.pair.route,
        identity=seen.pair.identity,
        cache=seen.cache,
        verdict=word,
        sentence=f"{seen.name}: {reason}: {word}.",
        median_before_ms=medians[0],
        median_after_ms=medians[1],
        p90_before_ms=p90s[0],
        p90_after_ms=p90s[1],
        median=found[0].ratio if found else None,
        p90=found[1].ratio if found else None,
        p_value=found[0].p_value if found else None,
        p90_p_value=found[1].p_value if found else None,
        control_before_ms=controls[0],
        control_after_ms=controls[1],
        control_ratio=seen.control_ratio,
        bursts_before=len(seen.bursts(0)),
        bursts_after=len(seen.bursts(1)),
        requests_before=seen.target[0].requests,
        requests_after=seen.target[1].requests,
        errors_before=seen.target[0].errors,
        errors_after=seen.target[1].errors,
        hit_ratio_before=hits[0],
        hit_ratio_after=hits[1],
    )


_Found = tuple[VerdictWord, str]  # a verdict, and why


def _by_its_own_rules(seen: ComparedPair, rule: _Rule) -> _Found | None:
    """Return what is settled without a look at latencies, the most telling first; None when nothing is."""
    checks = (_target_missing, _errors, _hits_lost, _control_missing, _too_few)
    return next((found for check in checks if (found := check(seen, rule))), None)


def _target_missing(seen: ComparedPair, rule: _Rule) -> _Found | None:
    if seen.name == seen.control_name:
        return "inconclusive", "the target is named as its own control"
    for target, when in zip(seen.target, WHEN, strict=True):
        if not target.requests:
            return "inconclusive", f"nothing was measured of it {when} the change"
    return None


def _errors(seen: ComparedPair, rule: _Rule) -> _Found | None:
    """Judge errors: significantly more (Fisher) and at least three more than before's share, or too many before."""
    before, after = seen.target
    more = after.errors - before.errors * after.requests / before.requests
    p_value = fisher_more(before.errors, before.requests, after.errors, after.requests)
    if more >= ERRORS_THAT_COUNT and p_value < rule.own_alpha:
        counts = f"errors {before.errors} of {before.requests} → {after.errors} of {after.requests}"
        return "regressed", f"{counts} requests"
    if before.errors > ERRORS_BEFORE * before.requests:
        failed = f"{before.errors} of {before.requests} requests failed before the change"
        return "inconclusive", f"{failed}, more than {percent(ERRORS_BEFORE)}"
    return None


def _hits_lost(seen: ComparedPair, rule: _Rule) -> _Found | None:
    """Judge the share of hits among the answers: a significant loss (Fisher) of at least five points."""
    before, after = seen.target
    share_before, share_after = _hit_ratios(seen)
    if share_before is None or share_after is None or share_before - share_after < HITS_LOST:
        return None
    p_value = fisher_more(before.answers - before.hits, before.answers, after.answers - after.hits, after.answers)
    if p_value >= rule.own_alpha:
        return None
    return "regressed", f"cache hits {percent(share_before)} → {percent(share_after)} of the answers{_now(seen)}"


def _control_missing(seen: ComparedPair, rule: _Rule) -> _Found | None:
    for control, when in zip(seen.control, WHEN, strict=True):
        if control.dominant is None:
            return "inconclusive", f"no answer of its control {seen.control_name} {when} the change"
        if control.dominant != seen.cache:
            unlike = f"is mostly {control.dominant} {when} the change, the target {seen.cache}"
            return "inconclusive", f"its control {seen.control_name} {unlike}"
    return None


def _too_few(seen: ComparedPair, rule: _Rule) -> _Found | None:
    before, after = (len(seen.bursts(when)) for when in (0, 1))
    if min(before, after) >= MINIMUM_BURSTS:
        return None
    what = f"at least {MINIMUM_REQUESTS} error-free {seen.cache} answers of target and control each"
    needed = f"{before} bursts before and {after} after the change have {what}, {MINIMUM_BURSTS} are needed"
    return "inconclusive", f"{needed}{_now(seen)}"


def _hit_ratios(seen: ComparedPair) -> tuple[float | None, float | None]:
    """Return the share of hits among the answers before and after; None for a target that no cache ever keeps."""
    if not any(cache in target.samples for target in seen.target for cache in ("hit", "miss")):
        return None, None
    before, after = (target.hits / target.answers if target.answers else None for target in seen.target)
    return before, after


def _now(seen: ComparedPair) -> str:
    """Tell a changed cache class in words."""
    now = seen.target[1].dominant
    return "" if now in (seen.cache, None) else f"; most answers are now {now}, before {seen.cache}"


def _by_latency(seen: ComparedPair, found: list[Change], rule: _Rule) -> _Found:
    """Combine what is said of the median and of the 90th percentile, see the top of this module."""
    middle, tail = found
    words = [_word(change, rule) for change in found]
    told = f"median {milliseconds(middle.before_ms, middle.after_ms)}, {interval(middle.ratio)}"
    if words[0] != "regressed" and words[1] == "regressed":
        told += f"; p90 {milliseconds(tail.before_ms, tail.after_ms)}, {interval(tail.ratio)}"
    word: VerdictWord = "regressed" if "regressed" in words else words[0]
    if word == "inconclusive" or (word == "same" and _matters(middle, rule)):
        told += f"; {_doubt(middle, rule)}"
    control_ms, _ = seen.middle(seen.control, median)
    shifted = rule.moved(control_ms or 0.0, seen.control_ratio or 1.0)
    if shifted:
        told += f"; {_shift(seen)}"
    return "environment-shift" if shifted and word == "same" else word, told + _now(seen)


def _word(change: Change, rule: _Rule) -> VerdictWord:
    ratio = change.ratio
    if _matters(change, rule) and change.worth_ms >= rule.floor_ms:
        return "regressed" if ratio.ratio > 1 else "improved"
    if all(rule.within(end) or rule.too_small(change.before_ms, end) for end in (ratio.low, ratio.high)):
        return "same"
    return "inconclusive"


def _matters(change: Change, rule: _Rule) -> bool:
    """Return whether a ratio is significant, also after Holm, and at least the margin away from 1."""
    one_sided = change.ratio.low > 1 or change.ratio.high < 1
    return one_sided and change.p_value < rule.alpha and not rule.within(change.ratio.ratio)


def _doubt(change: Change, rule: _Rule) -> str:
    if _matters(change, rule):
        return f"a change of {change.worth_ms:.2f} ms, where less than {rule.floor_ms:g} ms does not count"
    return f"too uncertain for a margin of {percent(rule.margin)}"


def _shift(seen: ComparedPair) -> str:
    before, after = seen.middle(seen.control, median)
    return f"its control moved too, {milliseconds(before or 0.0, after or 0.0)}, {times(seen.control_ratio or 1.0)}"


def _over_all(targets: Sequence[TargetVerdict]) -> str:
    """Return one sentence over all targets, the worst first."""
    if not targets:
        return "No target to judge: inconclusive."
    worst = targets[0]
    if len(targets) == 1:
        return worst.sentence
    alike = sum(target.verdict == worst.verdict for target in targets)
    return f"{alike} of {len(targets)} targets {worst.verdict}. {worst.sentence}"
