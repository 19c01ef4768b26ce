"""A checklist of migrations: where an app stands, and the way between two of its revisions."""

from __future__ import annotations

import pytest

from slipway.migrations.checklist import read_checklist, stands_at, way_between

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


def test_where_an_app_stands() -> None:
    """At the last applied one of its own; at zero where it has none; those of other apps do not count."""
    steps = read_checklist(LIST)
    assert [stands_at(steps, app) for app in ("auth", "orders", "mail")] == [
        "auth.0001_initial",
        "orders.0002_index",
        "mail.zero",
    ]
    assert stands_at(read_checklist(BRANCHES.replace("[ ]", "[X]")), "orders") == "orders.0003_merge"


@pytest.mark.parametrize(
    ("text", "app", "why"),
    [
        (LIST, "order", "the app order has no migrations"),
        ("(no migrations)\n", "orders", "the app orders has no migrations"),
        (BRANCHES, "orders", "orders.0002_a and orders.0002_b are applied side by side, and have to be merged first"),
    ],
)
def test_an_app_that_stands_nowhere(text: str, app: str, why: str) -> None:
    """An unknown app, and one with two heads, stand nowhere."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is held below
        stands_at(read_checklist(text), app)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("start", "to", "way"),
    [
        ("orders.0002_index", "orders.0003_size", ("auth.0002_names", "orders.0003_size")),
        ("orders.0002_index", "orders.0004_last", ("auth.0002_names", "orders.0003_size", "orders.0004_last")),
        ("mail.zero", "mail.0001_initial", ("mail.0001_initial",)),
    ],
)
def test_the_way_there(start: str, to: str, way: tuple[str, ...]) -> None:
    """Everything that is still to be applied, in its order, of other apps only what is needed."""
    assert way_between(read_checklist(LIST), start, to) == way


def test_the_way_over_a_merge() -> None:
    """From one branch the other one is part of the way to their merge."""
    steps = read_checklist(BRANCHES.replace("[X]  orders.0002_b", "[ ]  orders.0002_b"))
    assert way_between(steps, "orders.0002_a", "orders.0003_merge") == ("orders.0002_b", "orders.0003_merge")


@pytest.mark.parametrize(
    ("start", "to", "why"),
    [
        ("orders.0002_index", "orders.0009", "no way leads from orders.0002_index to orders.0009"),
        ("orders.0009", "orders.0003_size", "no way leads from orders.0009 to orders.0003_size"),
        ("orders.0003_size", "orders.0002_index", "no way leads from orders.0003_size to orders.0002_index"),
        ("orders.0001_initial", "orders.zero", "no way leads from orders.0001_initial to orders.zero"),
        ("mail.zero", "orders.0003_size", "no way leads from mail.zero to orders.0003_size"),
        ("orders.zero", "orders.0002_index", "nothing is left to apply from orders.zero to orders.0002_index"),
    ],
)
def test_no_way(start: str, to: str, why: str) -> None:
    """Unknown ends, the wrong direction, another app, and what is applied already."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is held below
        way_between(read_checklist(LIST), start, to)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("(no migrations)\n[X]  a.0001", "no line of a checklist: (no migrations)"),
        ("Hello\n[X]  a.0001", "no line of a checklist: Hello"),
        ("[X] a.0001", "no line of a checklist: [X] a.0001"),
        ("[x]  a.0001", "no line of a checklist: [x]  a.0001"),
        ("[-]  a.0001", "no line of a checklist: [-]  a.0001"),
        ("[X]  0001", "no line of a checklist: [X]  0001"),
        ("[X]  a.0001 ... ()", "no line of a checklist: [X]  a.0001 ... ()"),
        ("[X]  a.0001 (2 squashed migrations)", "no line of a checklist: [X]  a.0001 (2 squashed migrations)"),
        ("a\n [X] 0001_initial", "no line of a checklist: a"),
        ("\x1b[1m[X]  a.0001", "no line of a checklist: \x1b[1m[X]  a.0001"),
        ("[X]  a.0001\n[ ]  a.0001", "a migration stands there twice"),
        ("[X]  a.0002 ... (a.0001)", "a.0002 needs a.0001, which is not listed"),
        ("[ ]  a.0001\n[X]  a.0002 ... (a.0001)", "a.0002 is applied, and a.0001, which it needs, is not"),
    ],
)
def test_what_is_no_checklist(text: str, why: str) -> None:
    """A list that is cut off, coloured, of another form or that contradicts itself is never read in part."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is held below
        read_checklist(text)
    assert str(refused.value) == why


def test_no_migrations_at_all() -> None:
    """Django's own words for a project without migrations are an empty list."""
    assert read_checklist("(no migrations)\n") == ()


def test_names_of_any_language() -> None:
    """Apps are identifiers and migrations are modules, whatever their letters."""
    [step] = read_checklist("[X]  größe.0001-erste")
    assert (step.name, step.app, step.applied) == ("größe.0001-erste", "größe", True)
