"""The decision after a verdict, a rejection or a failure."""

from __future__ import annotations

from itertools import product

import pytest

from slipway.config.change import Judge
from slipway.core.finding import Finding
from slipway.measurement.samples import Interval, TargetVerdict, Verdict, VerdictWord
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping.decide import (
    decide,
    decide_on_failure,
    decide_on_rehearsal,
    decide_on_rejection,
    open_question,
    worth_extending,
)
from slipway.shipping.outcomes import Approval, DecisionWord, Failure

PROVEN = Rehearsal(reversibility="lossless")
NO_MIGRATION = Rehearsal(reversibility="nothing to migrate")
LOSSY = Rehearsal(reversibility="lossy", losses=("a.note: 3 values before, 0 after",))
EMPTY = Rehearsal(reversibility="does nothing", losses=("+CREATE TABLE b",))
FAILS = Rehearsal(reversibility="fails", losses=("It ended with 1.",))

KEPT = {("improved", "improved"), ("improved", "not-regressed"), ("same", "not-regressed")}
OPEN = ("inconclusive", "environment-shift")
WORDS: tuple[VerdictWord, ...] = ("improved", "same", "regressed", "inconclusive", "environment-shift")
TABLE = list(product(WORDS, ("improved", "not-regressed"), ("roll back", "freeze"), ("roll back", "freeze")))


def verdict(word: VerdictWord) -> Verdict:
    """Return a verdict of this word."""
    return Verdict(verdict=word, sentence=f"It is {word}.", margin=0.1, alpha=0.05, targets=())


@pytest.mark.parametrize("rehearsal", [PROVEN, NO_MIGRATION], ids=["proven", "no migration"])
@pytest.mark.parametrize(("word", "require", "on_regressed", "on_inconclusive"), TABLE)
def test_the_decision_table(
    word: VerdictWord,
    require: str,
    on_regressed: DecisionWord,
    on_inconclusive: DecisionWord,
    rehearsal: Rehearsal,
) -> None:
    """Only a verdict that meets the requirement keeps a change; otherwise the change file decides."""
    judge = Judge.model_validate({"require": require, "on_regressed": on_regressed, "on_inconclusive": on_inconclusive})
    decision = decide(verdict(word), judge, rehearsal)
    missed = on_inconclusive if word in OPEN else on_regressed
    assert decision.word == ("keep" if (word, require) in KEPT else missed)
    assert decision.reason == f"Required: {require}. It is {word}."


@pytest.mark.parametrize("word", WORDS)
def test_a_change_without_a_proven_downgrade_is_frozen(word: VerdictWord) -> None:
    """A change whose downgrade was not proven is never rolled back automatically."""
    decision = decide(verdict(word), Judge(on_regressed="roll back", on_inconclusive="roll back"), LOSSY)
    if word in ("improved", "same"):
        assert decision.word == "keep"
    else:
        assert decision.word == "freeze"
        assert decision.reason == (
            f"Required: not-regressed. It is {word}. In the rehearsal the downgrade lost data or schema "
            "(a.note: 3 values before, 0 after), so it is not run automatically."
        )


@pytest.mark.parametrize(("word", "is_open"), [(word, word in OPEN) for word in WORDS])
def test_only_an_inconclusive_verdict_is_open(word: VerdictWord, is_open: bool) -> None:
    """More samples can change the verdict only if it was inconclusive or the environment shifted."""
    assert open_question(verdict(word)) is is_open


def test_the_defaults_fail_closed() -> None:
    """By default, a regressed change is rolled back, and an inconclusive one is frozen."""
    assert decide(verdict("regressed"), Judge(), PROVEN).word == "roll back"
    assert decide(verdict("inconclusive"), Judge(), PROVEN).word == "freeze"
    assert decide(verdict("environment-shift"), Judge(), PROVEN).word == "freeze"


@pytest.mark.parametrize(
    ("rehearsal", "word", "reason"),
    [
        (PROVEN, "roll back", ""),
        (NO_MIGRATION, "roll back", ""),
        (
            LOSSY,
            "freeze",
            " In the rehearsal the downgrade lost data or schema (a.note: 3 values before, 0 after), so it is not run "
            "automatically.",
        ),
        (
            EMPTY,
            "freeze",
            " In the rehearsal the downgrade changed nothing (+CREATE TABLE b), so it is not run automatically.",
        ),
        (FAILS, "freeze", " In the rehearsal the downgrade failed (It ended with 1.), so it is not run automatically."),
    ],
)
def test_a_failure_after_the_migration(rehearsal: Rehearsal, word: DecisionWord, reason: str) -> None:
    """A failure after the migration rolls back if the downgrade was proven, and otherwise freezes the change."""
    decision = decide_on_failure(Failure(words="The cache refused to purge /a.", for_a_person=False), rehearsal)
    assert decision.word == word
    assert decision.reason == f"The migration or a step after it failed. The cache refused to purge /a.{reason}"


def test_a_rejection_says_who_and_why() -> None:
    """A rejection is its own decision: nothing was changed, so nothing is rolled back."""
    decision = decide_on_rejection(Approval(approved=False, by="Grace", why="Not before the sale."))
    assert decision.word == "reject"
    assert decision.reason == "Rejected by Grace: Not before the sale. Nothing was changed."


def tail(median: float, p90: float, **more: int) -> Verdict:
    """Return a regression with these ratios of the median and the 90th percentile."""
    intervals = {
        name: Interval(ratio=ratio, low=ratio * 0.95, high=ratio * 1.05, confidence=0.95)
        for name, ratio in (("median", median), ("p90", p90))
    }
    target = TargetVerdict(
        route="/", identity="anonymous", cache="hit", verdict="regressed", sentence="Slower.", **intervals, **more
    )
    return Verdict(verdict="regressed", sentence="Slower.", margin=0.10, alpha=0.05, targets=(target,))


def test_a_slow_tail_alone_is_measured_again() -> None:
    """A regression of the 90th percentile alone is measured again; other regressions are final."""
    assert worth_extending(tail(1.02, 1.20))
    assert not worth_extending(tail(1.20, 1.20))
    assert not worth_extending(tail(1.02, 1.20, errors_after=9))


def test_a_database_between_two_revisions_freezes_the_change() -> None:
    """The change is frozen even if the downgrade was proven."""
    decision = decide_on_failure(Failure(words="The schema is between two revisions.", for_a_person=True), PROVEN)
    assert decision.word == "freeze"
    assert decision.reason == (
        "The migration or a step after it failed. The schema is between two revisions. Check the database by hand before "
        "you retry or roll back."
    )


def test_an_error_of_the_rehearsal_rejects_the_change() -> None:
    """An error rejects the change unless the owner accepted its code; a warning does not."""
    findings = [
        Finding(
            code="old-code-breaks", level="error", summary="/a answers 500.", explanation="It will meet the schema."
        ),
        Finding(code="way-back-lossy", level="warning", summary="It loses something.", explanation="a.note"),
    ]
    rehearsal = Rehearsal(reversibility="lossy", losses=("a.note",), findings=tuple(findings))
    rejected = decide_on_rehearsal(rehearsal, [])
    assert rejected is not None and rejected.word == "reject"
    assert rejected.reason == (
        "The rehearsal found errors. old-code-breaks: /a answers 500. Nothing was changed. "
        "Fix the errors, or accept their codes with `accept` in [rehearse]."
    )
    assert decide_on_rehearsal(rehearsal, ["old-code-breaks"]) is None
    assert decide_on_rehearsal(PROVEN, []) is None
