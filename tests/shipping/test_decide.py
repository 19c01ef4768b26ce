"""From a verdict, or a failure, to a decision."""

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
    """A verdict of this word."""
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
    """Only a verdict that meets the demand keeps a change; an open question and a miss go where the change says."""
    judge = Judge.model_validate({"require": require, "on_regressed": on_regressed, "on_inconclusive": on_inconclusive})
    decision = decide(verdict(word), judge, rehearsal)
    missed = on_inconclusive if word in OPEN else on_regressed
    assert decision.word == ("keep" if (word, require) in KEPT else missed)
    assert decision.reason == f"Required: {require}. It is {word}."


@pytest.mark.parametrize("word", WORDS)
def test_without_a_proven_way_back_a_person_decides(word: VerdictWord) -> None:
    """A change whose way back was not proven is never rolled back by itself."""
    decision = decide(verdict(word), Judge(on_regressed="roll back", on_inconclusive="roll back"), LOSSY)
    if word in ("improved", "same"):
        assert decision.word == "keep"
    else:
        assert decision.word == "freeze"
        assert decision.reason == (
            f"Required: not-regressed. It is {word}. On the copy the way back lost something "
            "(a.note: 3 values before, 0 after), so a person decides."
        )


@pytest.mark.parametrize(("word", "is_open"), [(word, word in OPEN) for word in WORDS])
def test_open_questions(word: VerdictWord, is_open: bool) -> None:
    """More samples can change the answer only where there was none yet."""
    assert open_question(verdict(word)) is is_open


def test_the_defaults_fail_closed() -> None:
    """A change that says nothing is rolled back when slower and waits for a person when nothing can be said."""
    assert decide(verdict("regressed"), Judge(), PROVEN).word == "roll back"
    assert decide(verdict("inconclusive"), Judge(), PROVEN).word == "freeze"
    assert decide(verdict("environment-shift"), Judge(), PROVEN).word == "freeze"


@pytest.mark.parametrize(
    ("rehearsal", "word", "behind"),
    [
        (PROVEN, "roll back", ""),
        (NO_MIGRATION, "roll back", ""),
        (
            LOSSY,
            "freeze",
            " On the copy the way back lost something (a.note: 3 values before, 0 after), so a person decides.",
        ),
        (EMPTY, "freeze", " On the copy the way back did nothing (+CREATE TABLE b), so a person decides."),
        (FAILS, "freeze", " On the copy the way back failed (It ended with 1.), so a person decides."),
    ],
)
def test_a_failure_after_the_migration(rehearsal: Rehearsal, word: DecisionWord, behind: str) -> None:
    """A step that fails after the migration leads back where the way back was proven, and else to a person."""
    decision = decide_on_failure(Failure(words="The cache refused to purge /a.", for_a_person=False), rehearsal)
    assert decision.word == word
    assert decision.reason == f"The migration or a step after it failed. The cache refused to purge /a.{behind}"


def test_a_rejection_says_who_and_why() -> None:
    """A person's no is a decision of its own: nothing was changed, so nothing is taken back."""
    decision = decide_on_rejection(Approval(approved=False, by="Grace", why="Not before the sale."))
    assert decision.word == "reject"
    assert decision.reason == "Rejected by Grace: Not before the sale. Nothing was changed."


def tail(median: float, p90: float, **more: int) -> Verdict:
    """A regression with these ratios of median and 90th percentile."""
    intervals = {
        name: Interval(ratio=ratio, low=ratio * 0.95, high=ratio * 1.05, confidence=0.95)
        for name, ratio in (("median", median), ("p90", p90))
    }
    target = TargetVerdict(
        route="/", identity="anonymous", cache="hit", verdict="regressed", sentence="Slower.", **intervals, **more
    )
    return Verdict(verdict="regressed", sentence="Slower.", margin=0.10, alpha=0.05, targets=(target,))


def test_a_slow_tail_alone_is_measured_again() -> None:
    """Before a change is taken back for its 90th percentile alone, it is measured once more; other regressions stand."""
    assert worth_extending(tail(1.02, 1.20))
    assert not worth_extending(tail(1.20, 1.20))
    assert not worth_extending(tail(1.02, 1.20, errors_after=9))


def test_a_database_between_two_revisions_is_a_persons() -> None:
    """Also where the way back was proven: from between it would be a guess."""
    decision = decide_on_failure(Failure(words="It stands between.", for_a_person=True), PROVEN)
    assert decision.word == "freeze"
    assert decision.reason == (
        "The migration or a step after it failed. It stands between. A person has to look before anything else is done."
    )


def test_an_error_of_the_rehearsal_rejects_the_change() -> None:
    """Unless its owner has accepted it by its code; warnings are for people to read."""
    found = [
        Finding(
            code="old-code-breaks", level="error", summary="/a answers 500.", explanation="It will meet the schema."
        ),
        Finding(code="way-back-lossy", level="warning", summary="It loses something.", explanation="a.note"),
    ]
    rehearsal = Rehearsal(reversibility="lossy", losses=("a.note",), findings=tuple(found))
    rejected = decide_on_rehearsal(rehearsal, [])
    assert rejected is not None and rejected.word == "reject"
    assert rejected.reason == (
        "The rehearsal found what stands against it. old-code-breaks: /a answers 500. Nothing was changed."
    )
    assert decide_on_rehearsal(rehearsal, ["old-code-breaks"]) is None
    assert decide_on_rehearsal(PROVEN, []) is None
