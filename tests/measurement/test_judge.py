"""Every rule of judging, on made-up windows whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from slipway.config.change import Pair
from slipway.measurement.judge import joined, judge, meets
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
    """Return one measurement around `ms`; its slowest fifth is `tail` times slower; the first `errors` failed."""
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
    ("after", "word"),
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
def test_verdict_of_one_target(after: MeasuredWindow, word: VerdictWord) -> None:
    """Each kind of change gets the word that the rules have for it, for the target and over all."""
    verdict = judge(BEFORE, after, [ORDERS])
    assert (verdict.verdict, verdict.targets[0].verdict) == (word, word), verdict.sentence


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
            "its control moved too, 8.0 → 12.1 ms, 1.51×: environment-shift.",
        ),
        (
            target_and_control("after", errors=40),
            "/orders as customer: errors 0 of 500 → 40 of 500 requests: regressed.",
        ),
        (
            target_and_control("after", bursts=12),
            "/orders as customer: 20 bursts before and 12 after the change have at least 20 error-free pass answers of "
            "target and control each, 20 are needed: inconclusive.",
        ),
        (
            window(measurement("/products/1")),
            "/orders as customer: nothing was measured of it after the change: inconclusive.",
        ),
        (
            window(measurement()),
            "/orders as customer: no answer of its control /products/1 as customer after the change: inconclusive.",
        ),
        (
            window(measurement(), measurement("/products/1", cache="hit")),
            "/orders as customer: its control /products/1 as customer is mostly hit after the change, the target pass: "
            "inconclusive.",
        ),
        (
            window(measurement(cache="hit"), measurement("/products/1")),
            "/orders as customer: 20 bursts before and 0 after the change have at least 20 error-free pass answers of "
            "target and control each, 20 are needed; most answers are now hit, before pass: inconclusive.",
        ),
    ],
)
def test_sentence_tells_the_numbers(after: MeasuredWindow, sentence: str) -> None:
    """One plain sentence says what was seen, in numbers, and what is missing when something is."""
    assert judge(BEFORE, after, [ORDERS]).sentence == sentence


def test_missing_before_is_inconclusive() -> None:
    """Without a measurement before the change there is nothing to compare with."""
    verdict = judge(window(), target_and_control("after"), [ORDERS])
    assert verdict.sentence == "/orders as customer: nothing was measured of it before the change: inconclusive."


def test_no_target_is_inconclusive() -> None:
    """A verdict over nothing is never a pass."""
    assert judge(BEFORE, BEFORE, []).sentence == "No target to judge: inconclusive."
    assert judge(BEFORE, BEFORE, []).verdict == "inconclusive"


def test_target_as_its_own_control_is_inconclusive() -> None:
    """A target divided by itself would always be the same."""
    own = ORDERS.model_copy(update={"control_route": "/orders"})
    assert judge(BEFORE, target_and_control("after", 90.0), [own]).verdict == "inconclusive"


def test_errors_before_leave_nothing_to_compare_with() -> None:
    """A target that failed too often before the change cannot be judged by its answers."""
    verdict = judge(target_and_control("before", errors=30), target_and_control("after"), [ORDERS])
    assert verdict.sentence == (
        "/orders as customer: 30 of 500 requests failed before the change, more than 5 %: inconclusive."
    )


def test_change_below_the_floor_is_no_regression() -> None:
    """Half as much again of almost nothing is told, and is not called a regression."""
    after = target_and_control("after", 0.6, 0.5)
    verdict = judge(target_and_control("before", 0.4, 0.5), after, [ORDERS])
    assert verdict.sentence == (
        "/orders as customer: median 0.40 → 0.59 ms, 1.48× (1.44–1.51 at 95 %); "
        "a change of 0.19 ms, where less than 0.5 ms does not count: same."
    )
    assert judge(target_and_control("before", 0.4, 0.5), after, [ORDERS], floor_ms=0.1).verdict == "regressed"


@pytest.mark.parametrize(
    ("hits", "misses", "word"), [(25, 0, "same"), (24, 1, "same"), (22, 5, "regressed"), (0, 25, "regressed")]
)
def test_lost_hits_are_a_regression(hits: int, misses: int, word: VerdictWord) -> None:
    """Hits as fast as ever do not hide that there are materially fewer of them."""
    after = window(
        measurement(cache="hit", requests=hits, seed="after"),
        measurement(cache="miss", requests=misses, ms=60.0),
        measurement("/products/1", cache="hit", ms=8.0, seed="after"),
    )
    target = judge(target_and_control("before", cache="hit"), after, [ORDERS]).targets[0]
    assert target.verdict == word, target.sentence
    assert (target.hit_ratio_before, target.hit_ratio_after) == (1.0, hits / (hits + misses))


def test_lost_hits_tell_the_new_class() -> None:
    """When most answers are of another cache class now, the sentence says so."""
    after = window(measurement(cache="miss"), measurement("/products/1", cache="hit"))
    assert judge(target_and_control("before", cache="hit"), after, [ORDERS]).sentence == (
        "/orders as customer: cache hits 100 % → 0 % of the answers; most answers are now miss, before hit: regressed."
    )


def test_every_number_is_told() -> None:
    """A verdict carries all that it rests on."""
    target = judge(BEFORE, target_and_control("after", 5.0, errors=1), [ORDERS]).targets[0]
    numbers = target.model_dump(exclude={"hit_ratio_before", "hit_ratio_after"})
    assert None not in numbers.values()
    assert (target.bursts_before, target.requests_after, target.errors_after) == (20, 500, 1)
    assert target.median is not None
    assert target.median.low < target.median.ratio < target.median.high


def several(after_ms: Sequence[float], noise: float = 0.1) -> tuple[MeasuredWindow, MeasuredWindow, list[Pair]]:
    """Return before and after of as many targets as times are given, all of 10 ms before, and their pairs."""
    routes = [f"/{number}" for number in range(len(after_ms))]
    control = [measurement("/products/1", 8.0, seed=when) for when in ("before", "after")]
    before = window(control[0], *(measurement(route, noise=noise, seed="before") for route in routes))
    changed = zip(routes, after_ms, strict=True)
    after = window(control[1], *(measurement(route, ms, noise=noise, seed="after") for route, ms in changed))
    return before, after, [ORDERS.model_copy(update={"route": route}) for route in routes]


@pytest.mark.parametrize(
    ("after_ms", "word"),
    [
        ((5.0, 10.0, 20.0), "regressed"),
        ((5.0, 10.0, 10.0), "improved"),
        ((10.0, 10.0, 10.0), "same"),
    ],
)
def test_worst_target_gives_the_verdict(after_ms: Sequence[float], word: VerdictWord) -> None:
    """One regressed target is enough to regress all, one improved among the same to improve; the worst stands first."""
    verdict = judge(*several(after_ms))
    assert (verdict.verdict, verdict.targets[0].verdict) == (word, word)
    assert verdict.sentence == f"1 of 3 targets {word}. {verdict.targets[0].sentence}" or word == "same"


def test_inconclusive_target_outranks_an_improved_one() -> None:
    """What cannot be judged is not outvoted by what went well."""
    before, after, pairs = several((5.0, 10.0))
    missing = ORDERS.model_copy(update={"route": "/nowhere"})
    assert judge(before, after, [*pairs, missing]).verdict == "inconclusive"


def test_holm_asks_more_of_one_among_three() -> None:
    """The same change of one target is significant alone and no longer so among three (Holm)."""
    before, after, pairs = several((11.5, 10.0, 10.0), noise=0.5)
    alone = judge(before, after, pairs[:1]).targets[0]
    among = next(t for t in judge(before, after, pairs).targets if t.route == "/0")
    assert alone.p90_p_value is not None
    assert among.p90_p_value is not None
    assert alone.p90 == among.p90
    assert alone.p90_p_value < 0.05 < among.p90_p_value
    assert (alone.verdict, among.verdict) == ("regressed", "inconclusive")


def test_extension_settles_what_was_inconclusive() -> None:
    """Too noisy a window is inconclusive; joined with an extension, twice the bursts are judged at half the alpha."""
    before, first = (target_and_control(when, noise=0.4) for when in ("before", "after"))
    assert judge(before, first, [ORDERS]).sentence == (
        "/orders as customer: median 10.1 → 9.7 ms, 0.97× (0.91–1.03 at 95 %); "
        "too uncertain for a margin of 10 %: inconclusive."
    )
    longer = joined(first, target_and_control("extension", noise=0.4))
    verdict = judge(before, longer, [ORDERS], alpha=0.025)
    assert verdict.sentence == "/orders as customer: median 10.1 → 9.8 ms, 0.99× (0.93–1.06 at 97.5 %): same."
    assert verdict.targets[0].bursts_after == 40


def test_joined_renumbers_the_extension() -> None:
    """The extension's bursts and due times follow the first's, also for what only the extension has seen."""
    first = window(measurement(bursts=2, requests=1), bursts=2)
    longer = joined(
        first, window(measurement(bursts=2, requests=1), measurement("/new", bursts=1, requests=1), bursts=2)
    )
    assert (longer.bursts, longer.seconds) == (4, 40)
    assert [(s.burst, s.due_s) for s in longer.measurements[0].samples] == [(0, 0.0), (1, 1.0), (2, 20.0), (3, 21.0)]
    assert [s.burst for s in longer.measurements[1].samples] == [2]


@pytest.mark.parametrize(
    ("word", "require", "met"),
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
def test_meets(word: VerdictWord, require: Literal["improved", "not-regressed"], met: bool) -> None:
    """Only improved and, where that is enough, same meet what a change requires."""
    verdict = judge(BEFORE, BEFORE, [ORDERS]).model_copy(update={"verdict": word})
    assert meets(verdict, require) is met
