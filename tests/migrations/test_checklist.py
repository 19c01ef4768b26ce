"""A checklist of migrations: the revision of an app, and the migrations between two revisions."""

from __future__ import annotations

import pytest

from slipway.migrations.checklist import applied_head, read_checklist, steps_between

LIST = """\
[X]  auth.0001_initial
[X]  orders.0001_initial ... (auth.0001_initial)
[X]  orders.0002_index ... (orders.0001_initial)
[ ]  auth.0002_names ... (auth.0001_initial)
[ ]  mail.0001_initial
[ ]  orders.0003_size ... (auth.0002_names, orders.0002_index)
[ ]  orders.0004_last ... (orders.0003_size)
"""
BRANCHES = """\
[X]  orders.0001
[X]  orders.0002_a ... (orders.0001)
[X]  orders.0002_b ... (orders.0001)
[ ]  orders.0003_merge ... (orders.0002_a, orders.0002_b)
"""


def test_the_head_of_an_app_is_its_last_applied_migration() -> None:
    """The head is the app's last applied migration, or zero; migrations of other apps do not count."""
    steps = read_checklist(LIST)
    assert [applied_head(steps, app) for app in ("auth", "orders", "mail")] == [
        "auth.0001_initial",
        "orders.0002_index",
        "mail.zero",
    ]
    assert applied_head(read_checklist(BRANCHES.replace("[ ]", "[X]")), "orders") == "orders.0003_merge"


@pytest.mark.parametrize(
    ("text", "app", "reason"),
    [
        (LIST, "order", "the app order has no migrations"),
        ("(no migrations)\n", "orders", "the app orders has no migrations"),
        (BRANCHES, "orders", "orders.0002_a and orders.0002_b are separate branches and must be merged first"),
    ],
)
def test_an_app_without_a_single_head_is_refused(text: str, app: str, reason: str) -> None:
    """An unknown app, and an app with two heads, are refused."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is asserted below
        applied_head(read_checklist(text), app)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("start", "to", "names"),
    [
        ("orders.0002_index", "orders.0003_size", ("auth.0002_names", "orders.0003_size")),
        ("orders.0002_index", "orders.0004_last", ("auth.0002_names", "orders.0003_size", "orders.0004_last")),
        ("mail.zero", "mail.0001_initial", ("mail.0001_initial",)),
    ],
)
def test_the_migrations_between_two_revisions(start: str, to: str, names: tuple[str, ...]) -> None:
    """All migrations to apply, in order; of other apps only the dependencies."""
    assert steps_between(read_checklist(LIST), start, to) == names


def test_a_merge_includes_the_other_branch() -> None:
    """From one branch to the merge, the other branch is applied too."""
    steps = read_checklist(BRANCHES.replace("[X]  orders.0002_b", "[ ]  orders.0002_b"))
    assert steps_between(steps, "orders.0002_a", "orders.0003_merge") == ("orders.0002_b", "orders.0003_merge")


@pytest.mark.parametrize(
    ("start", "to", "reason"),
    [
        ("orders.0002_index", "orders.0009", "there is no path from orders.0002_index to orders.0009"),
        ("orders.0009", "orders.0003_size", "there is no path from orders.0009 to orders.0003_size"),
        ("orders.0003_size", "orders.0002_index", "there is no path from orders.0003_size to orders.0002_index"),
        ("orders.0001_initial", "orders.zero", "there is no path from orders.0001_initial to orders.zero"),
        ("mail.zero", "orders.0003_size", "there is no path from mail.zero to orders.0003_size"),
        ("orders.zero", "orders.0002_index", "nothing is left to apply from orders.zero to orders.0002_index"),
    ],
)
def test_revisions_without_a_path_are_refused(start: str, to: str, reason: str) -> None:
    """Unknown revisions, the wrong direction, another app, and applied migrations are refused."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is asserted below
        steps_between(read_checklist(LIST), start, to)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the checklist is empty"),
        ("\n \n", "the checklist is empty"),
        ("(no migrations)\n[X]  a.0001", "this is not a line of a checklist: (no migrations)"),
        ("Hello\n[X]  a.0001", "this is not a line of a checklist: Hello"),
        ("[X] a.0001", "this is not a line of a checklist: [X] a.0001"),
        ("[x]  a.0001", "this is not a line of a checklist: [x]  a.0001"),
        ("[-]  a.0001", "this is not a line of a checklist: [-]  a.0001"),
        ("[X]  0001", "this is not a line of a checklist: [X]  0001"),
        ("[X]  a.0001 ... ()", "this is not a line of a checklist: [X]  a.0001 ... ()"),
        (
            "[X]  a.0001 (2 squashed migrations)",
            "this is not a line of a checklist: [X]  a.0001 (2 squashed migrations)",
        ),
        ("a\n [X] 0001_initial", "this is not a line of a checklist: a"),
        ("\x1b[1m[X]  a.0001", "this is not a line of a checklist: \x1b[1m[X]  a.0001"),
        ("[X]  a.0001\n[ ]  a.0001", "a migration is listed twice"),
        ("[X]  a.0002 ... (a.0001)", "a.0002 needs a.0001, which is not listed"),
        ("[ ]  a.0001\n[X]  a.0002 ... (a.0001)", "a.0002 is applied, but a.0001, which it needs, is not"),
    ],
)
def test_an_invalid_checklist_is_refused(text: str, reason: str) -> None:
    """A list that is truncated, coloured, in another format or contradictory is refused as a whole."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is asserted below
        read_checklist(text)
    assert str(refused.value) == reason


def test_a_project_without_migrations_has_an_empty_list() -> None:
    """Django's output for a project without migrations is an empty list."""
    assert read_checklist("(no migrations)\n") == ()


def test_names_of_any_language() -> None:
    """Names of apps and migrations may contain letters of any language."""
    [step] = read_checklist("[X]  größe.0001-erste")
    assert (step.name, step.app, step.applied) == ("größe.0001-erste", "größe", True)
