"""Test each rule of the judge on generated windows with a known change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from slipway.config.change import Pair
from slipway.measurement.judge import extended, judge, meets
from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, Sample, VerdictWord

ORDERS = Pair(route="/orders", identity="customer", control_route="/products/1", control_identity="customer")


def measurement(
    route: str = "/orders",
    ms: float = 10.0,
    *,
    cache: CacheClass = "pass",
    bursts: int = 20,
    requests: int = 25,
    noise: float = 0.1,
    tail: float = 1.0,
    errors: int = 0,
    seed: object = 0,
) -> Measurement:
    """Return a measurement around `ms`; the slowest fifth is `tail` times slower; the first `errors` requests failed."""
    rng = random.Random(f"{route} {seed}")
    samples = [
        Sample(burst, burst + number / 100, ms * rng.lognormvariate(0, noise) * (tail if number % 5 == 0 else 1.0))
        for burst in range(bursts)
        for number in range(requests)
    ]
    failed = [sample._replace(error="status 500") for sample in samples[:errors]]
    return Measurement(route=route, identity="customer", cache=cache, samples=(*failed, *samples[errors:]))


def window(*measurements: Measurement, bursts: int = 20) -> MeasuredWindow:
    return MeasuredWindow(
        started_at="2026-01-01T00:00:00+00:00", seconds=20, bursts=bursts, requests=25, measurements=measurements
    )


def target_and_control(seed: object, ms: float = 10.0, control_ms: float = 8.0, **target: Any) -> MeasuredWindow:
    cache = target.get("cache", "pass")
    return window(
        measurement(ms=ms, seed=seed, **target), measurement("/products/1", control_ms, cache=cache, seed=seed)
    )


BEFORE = target_and_control("before")


@pytest.mark.parametrize(
    ("after", "expected_verdict"),
    [
        pytest.param(target_and_control("after", 5.0), "improved", id="half"),
        pytest.param(target_and_control("after", 12.5), "regressed", id="a quarter more"),
        pytest.param(target_and_control("after", 10.1), "same", id="one percent"),
        pytest.param(target_and_control("after", tail=2.0), "regressed", id="only the p90"),
        pytest.param(target_and_control("after", 7.0, tail=3.0), "regressed", id="median better, p90 worse"),
        pytest.param(target_and_control("after", 15.0, 12.0), "environment-shift", id="both slower"),
        pytest.param(target_and_control("after", 6.6, 5.3), "environment-shift", id="both faster"),
        pytest.param(target_and_control("after", 5.0, 12.0), "improved", id="improved under shift"),
        pytest.param(target_and_control("after", 20.0, 12.0), "regressed", id="regressed under shift"),
        pytest.param(target_and_control("after", 5.0, bursts=19), "inconclusive", id="few bursts"),
        pytest.param(target_and_control("after", 5.0, requests=19), "inconclusive", id="small bursts"),
        pytest.param(target_and_control("after", errors=6), "regressed", id="errors"),
        pytest.param(target_and_control("after", errors=500), "regressed", id="nothing but errors"),
        pytest.param(target_and_control("after", errors=2), "same", id="two errors"),
    ],
)
def test_verdict_of_one_target(after: MeasuredWindow, expected_verdict: VerdictWord) -> None:
    """Each kind of change gets the verdict of the rules, for the target and overall."""
    verdict = judge(BEFORE, after, [ORDERS])
    assert (verdict.verdict, verdict.targets[0].verdict) == (expected_verdict, expected_verdict), verdict.sentence


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (
            target_and_control("after", 3.1),
            "/orders as customer: median 10.0 → 3.1 ms, 0.31× (0.30–0.31 at 95 %): improved.",
        ),
        (
            target_and_control("after", tail=2.0),
            "/orders as customer: median 10.0 → 10.2 ms, 1.01× (0.99–1.04 at 95 %); "
            "p90 11.5 → 19.9 ms, 1.70× (1.63–1.78 at 95 %): regressed.",
        ),
        (
            target_and_control("after", 15.0, 12.0),
            "/orders as customer: median 10.0 → 14.9 ms, 0.99× (0.96–1.01 at 95 %); "
            "the control route also changed, 8.0 → 12.1 ms, 1.51×: environment-shift.",
        ),
        (
            target_and_control("after", errors=40),
            "/orders as customer: failed requests 0 of 500 → 40 of 500: regressed.",
        ),
        (
            target_and_control("after", bursts=12),
            "/orders as customer: 20 bursts before and 12 after the change are usable, 20 are required "
            "(at least 20 successful pass responses each from target and control): inconclusive.",
        ),
        (
            window(measurement("/products/1")),
            "/orders as customer: no requests were measured after the change: inconclusive.",
        ),
        (
            window(measurement()),
            "/orders as customer: the control /products/1 as customer has no successful response after the change: "
            "inconclusive.",
        ),
        (
            window(measurement(), measurement("/products/1", cache="hit")),
            "/orders as customer: the control /products/1 as customer is mostly hit after the change, but the target is "
            "pass; their cache classes must match: inconclusive.",
        ),
        (
            window(measurement(cache="hit"), measurement("/products/1")),
            "/orders as customer: 20 bursts before and 0 after the change are usable, 20 are required "
            "(at least 20 successful pass responses each from target and control); "
            "cache class of most responses pass → hit: inconclusive.",
        ),
    ],
)
def test_sentence_contains_the_numbers(after: MeasuredWindow, sentence: str) -> None:
    """The sentence contains the measured numbers, or names what is missing."""
    assert judge(BEFORE, after, [ORDERS]).sentence == sentence


def test_missing_window_before_is_inconclusive() -> None:
    """The verdict is inconclusive without a measurement before the change."""
    verdict = judge(window(), target_and_control("after"), [ORDERS])
    assert verdict.sentence == "/orders as customer: no requests were measured before the change: inconclusive."


def test_no_target_is_inconclusive() -> None:
    """A verdict without targets is never a pass."""
    assert judge(BEFORE, BEFORE, []).sentence == "No target to judge: inconclusive."
    assert judge(BEFORE, BEFORE, []).verdict == "inconclusive"


def test_target_as_its_own_control_is_inconclusive() -> None:
    """A target compared with itself would always be the same."""
    own = ORDERS.model_copy(update={"control_route": "/orders"})
    assert judge(BEFORE, target_and_control("after", 90.0), [own]).verdict == "inconclusive"


def test_too_many_errors_before_are_inconclusive() -> None:
    """A target with too many errors before the change cannot be judged."""
    verdict = judge(target_and_control("before", errors=30), target_and_control("after"), [ORDERS])
    assert verdict.sentence == (
        "/orders as customer: 30 of 500 requests failed before the change, more than 5 %: inconclusive."
    )


def test_change_below_the_floor_is_no_regression() -> None:
    """A change of half a very small latency is reported, but is no regression."""
    after = target_and_control("after", 0.6, 0.5)
    verdict = judge(target_and_control("before", 0.4, 0.5), after, [ORDERS])
    assert verdict.sentence == (
        "/orders as customer: median 0.40 → 0.59 ms, 1.48× (1.44–1.51 at 95 %); "
        "the change of 0.19 ms is below the threshold of 0.5 ms: same."
    )
    assert judge(target_and_control("before", 0.4, 0.5), after, [ORDERS], floor_ms=0.1).verdict == "regressed"


@pytest.mark.parametrize(
    ("hits", "misses", "expected_verdict"),
    [(25, 0, "same"), (24, 1, "same"), (22, 5, "regressed"), (0, 25, "regressed")],
)
def test_lost_hits_are_a_regression(hits: int, misses: int, expected_verdict: VerdictWord) -> None:
    """A clearly lower cache hit ratio is a regression, even if the remaining hits are as fast as before."""
    after = window(
        measurement(cache="hit", requests=hits, seed="after"),
        measurement(cache="miss", requests=misses, ms=60.0),
        measurement("/products/1", cache="hit", ms=8.0, seed="after"),
    )
    target = judge(target_and_control("before", cache="hit"), after, [ORDERS]).targets[0]
    assert target.verdict == expected_verdict, target.sentence
    assert (target.hit_ratio_before, target.hit_ratio_after) == (1.0, hits / (hits + misses))


def test_lost_hits_name_the_new_cache_class() -> None:
    """The sentence contains the new cache class of most responses."""
    after = window(measurement(cache="miss"), measurement("/products/1", cache="hit"))
    assert judge(target_and_control("before", cache="hit"), after, [ORDERS]).sentence == (
        "/orders as customer: cache hit ratio 100 % → 0 %; cache class of most responses hit → miss: regressed."
    )


def test_verdict_contains_every_number() -> None:
    """A verdict contains all the numbers that it is based on."""
    target = judge(BEFORE, target_and_control("after", 5.0, errors=1), [ORDERS]).targets[0]
    numbers = target.model_dump(exclude={"hit_ratio_before", "hit_ratio_after"})
    assert None not in numbers.values()
    assert (target.bursts_before, target.requests_after, target.errors_after) == (20, 500, 1)
    assert target.median is not None
    assert target.median.low < target.median.ratio < target.median.high


def several_targets(after_ms: Sequence[float], noise: float = 0.1) -> tuple[MeasuredWindow, MeasuredWindow, list[Pair]]:
    """Return before, after and the pairs: one target per value of `after_ms`, all at 10 ms before."""
    routes = [f"/{number}" for number in range(len(after_ms))]
    control = [measurement("/products/1", 8.0, seed=when) for when in ("before", "after")]
    before = window(control[0], *(measurement(route, noise=noise, seed="before") for route in routes))
    changed = zip(routes, after_ms, strict=True)
    after = window(control[1], *(measurement(route, ms, noise=noise, seed="after") for route, ms in changed))
    return before, after, [ORDERS.model_copy(update={"route": route}) for route in routes]


@pytest.mark.parametrize(
    ("after_ms", "expected_verdict"),
    [
        ((5.0, 10.0, 20.0), "regressed"),
        ((5.0, 10.0, 10.0), "improved"),
        ((10.0, 10.0, 10.0), "same"),
    ],
)
def test_worst_target_gives_the_verdict(after_ms: Sequence[float], expected_verdict: VerdictWord) -> None:
    """The overall verdict is that of the worst target, which also comes first."""
    verdict = judge(*several_targets(after_ms))
    assert (verdict.verdict, verdict.targets[0].verdict) == (expected_verdict, expected_verdict)
    summary = f"1 of 3 targets: {expected_verdict}. {verdict.targets[0].sentence}"
    assert verdict.sentence == summary or expected_verdict == "same"


def test_inconclusive_target_outranks_an_improved_one() -> None:
    """An improved target does not outweigh an inconclusive one."""
    before, after, pairs = several_targets((5.0, 10.0))
    missing = ORDERS.model_copy(update={"route": "/nowhere"})
    assert judge(before, after, [*pairs, missing]).verdict == "inconclusive"


def test_holm_raises_the_p_value_of_one_among_three() -> None:
    """The same change of one target is significant alone, but not among three targets (Holm)."""
    before, after, pairs = several_targets((11.5, 10.0, 10.0), noise=0.5)
    alone = judge(before, after, pairs[:1]).targets[0]
    among_three = next(t for t in judge(before, after, pairs).targets if t.route == "/0")
    assert alone.p90_p_value is not None
    assert among_three.p90_p_value is not None
    assert alone.p90 == among_three.p90
    assert alone.p90_p_value < 0.05 < among_three.p90_p_value
    assert (alone.verdict, among_three.verdict) == ("regressed", "inconclusive")


def test_extension_resolves_an_inconclusive_verdict() -> None:
    """A noisy window is inconclusive; with an extension, twice the bursts are judged at half the alpha."""
    before, first = (target_and_control(when, noise=0.4) for when in ("before", "after"))
    assert judge(before, first, [ORDERS]).sentence == (
        "/orders as customer: median 10.1 → 9.7 ms, 0.97× (0.91–1.03 at 95 %); "
        "too uncertain to decide at a margin of 10 %: inconclusive."
    )
    extended_window = extended(first, target_and_control("extension", noise=0.4))
    verdict = judge(before, extended_window, [ORDERS], alpha=0.025)
    assert verdict.sentence == "/orders as customer: median 10.1 → 9.8 ms, 0.99× (0.93–1.06 at 97.5 %): same."
    assert verdict.targets[0].bursts_after == 40


def test_extended_renumbers_the_extension() -> None:
    """Bursts and due times of the extension follow those of the first window, also for routes that only the extension has."""
    first = window(measurement(bursts=2, requests=1), bursts=2)
    extended_window = extended(
        first, window(measurement(bursts=2, requests=1), measurement("/new", bursts=1, requests=1), bursts=2)
    )
    assert (extended_window.bursts, extended_window.seconds) == (4, 40)
    known, new = (measurement.samples for measurement in extended_window.measurements)
    assert [(s.burst, s.due_s) for s in known] == [(0, 0.0), (1, 1.0), (2, 20.0), (3, 21.0)]
    assert [s.burst for s in new] == [2]


@pytest.mark.parametrize(
    ("expected_verdict", "require", "met"),
    [
        ("improved", "improved", True),
        ("same", "improved", False),
        ("improved", "not-regressed", True),
        ("same", "not-regressed", True),
        ("regressed", "not-regressed", False),
        ("inconclusive", "not-regressed", False),
        ("environment-shift", "not-regressed", False),
    ],
)
def test_meets(expected_verdict: VerdictWord, require: Literal["improved", "not-regressed"], met: bool) -> None:
    """Only improved and, for `not-regressed`, also same meets the requirement."""
    verdict = judge(BEFORE, BEFORE, [ORDERS]).model_copy(update={"verdict": expected_verdict})
    assert meets(verdict, require) is met
