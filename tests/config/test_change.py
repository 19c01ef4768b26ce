"""Load change files, and the error messages for invalid files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from slipway.config.change import Change, Pair, load_change
from slipway.core.errors import InvalidInput
from slipway.core.frozen import RouteAs

EXAMPLE = """\
service  = "shop"
owner    = "orders team <orders@example.com>"
reason   = "Order history is slow for customers with many orders"
expected = "signed-in GET /orders at least 30 % faster at the median"
rollback = "Drops the index again. No data is lost."

[migrate]            # optional
from = "0007"        # what the database must be at
to   = "0008"

[purge]              # optional; only these leave the cache
routes = ["/orders"]
tags   = ["orders"]

[measure]
targets = [{ route = "/orders", identity = "customer" }]
control = { route = "/products/1", identity = "customer" }   # unaffected, same path through the cache

[judge]
require = "improved"        # or "not-regressed"
margin  = 0.10
on_regressed = "roll back"  # or "freeze"
"""


def write(folder: Path, content: str | bytes, name: str = "faster") -> Path:
    """Write a change file into a folder of changes."""
    path = folder / name / "change.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(folder: Path, content: str) -> Change:
    """Write and load a change."""
    write(folder, content)
    return load_change(folder, "faster")[0]


def refusal(folder: Path, name: str = "faster") -> tuple[str, str]:
    """Return `failed` and `expected` of the error for a change that cannot be loaded."""
    with pytest.raises(InvalidInput) as refused:
        load_change(folder, name)
    assert refused.value.retry_is_safe
    return refused.value.failed, refused.value.expected


def test_example_change_loads(tmp_path: Path) -> None:
    """The example that users copy is a valid change with all its parts."""
    change = load(tmp_path, EXAMPLE)
    assert (change.service, change.owner) == ("shop", "orders team <orders@example.com>")
    assert change.migrate is not None and (change.migrate.start, change.migrate.to) == ("0007", "0008")
    assert change.purge is not None and (change.purge.routes, change.purge.tags) == (("/orders",), ("orders",))
    assert (change.judge.require, change.judge.margin, change.judge.on_regressed) == ("improved", 0.1, "roll back")
    assert change.judge.on_inconclusive == "freeze"


def test_migrate_purge_and_judge_are_optional(tmp_path: Path) -> None:
    """A change without these sections only measures, and requires `not-regressed`."""
    change = load(tmp_path, EXAMPLE.partition("[migrate]")[0] + MEASURE)
    assert (change.migrate, change.purge, change.judge.require) == (None, None, "not-regressed")


MEASURE = '[measure]\ntargets = [{ route = "/orders" }]\ncontrol = { route = "/products/1" }\n'
OWNER = 'owner    = "orders team <orders@example.com>"\n'
ROLLBACK = 'rollback = "Drops the index again. No data is lost."\n'
CONTROL = 'control = { route = "/products/1", identity = "customer" }   # unaffected, same path through the cache\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(OWNER, OWNER + 'risk = "low"\n', "risk: unknown key", id="unknown key"),
        pytest.param("require =", "requires =", "judge.requires: unknown key", id="unknown key in a section"),
        pytest.param(OWNER, "", "owner: missing", id="no owner"),
        pytest.param(ROLLBACK, "", "rollback: missing", id="no rollback note"),
        pytest.param(
            ROLLBACK, 'rollback = ""\n', "rollback: string should have at least 3 characters", id="empty rollback note"
        ),
        pytest.param('from = "0007"', "", "migrate.from: missing", id="no start"),
        pytest.param(CONTROL, "", "measure: the control is missing for /orders", id="no control"),
        pytest.param(
            '{ route = "/orders", identity = "customer" }',
            "",
            "measure.targets: tuple should have at least 1 item after validation, not 0",
            id="no target",
        ),
        pytest.param(
            'routes = ["/orders"]\ntags   = ["orders"]',
            "",
            "purge: set at least one of routes, tags and by_ids, or leave out [purge]",
            id="a purge of nothing",
        ),
        pytest.param(
            "0.10", "0.001", "judge.margin: input should be greater than or equal to 0.01", id="too small a margin"
        ),
        pytest.param("0.10", "1.5", "judge.margin: input should be less than or equal to 1", id="too large a margin"),
        pytest.param(
            '"improved"', '"faster"', "judge.require: input should be 'improved' or 'not-regressed'", id="unknown word"
        ),
    ],
)
def test_error_names_the_place_and_the_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The error of an invalid file names the file, the key, and the reason."""
    assert old in EXAMPLE
    write(tmp_path, EXAMPLE.replace(old, new, 1))
    assert refusal(tmp_path) == (f"faster/change.toml: {message}.", "Only known keys, each with a valid value.")


@pytest.mark.parametrize("route", ["orders", "http://evil.example/", "//evil.example/x", "/a b", "/a#b", "/a\\\\b", ""])
def test_route_must_be_a_path(tmp_path: Path, route: str) -> None:
    """A route cannot contain another host, a fragment or a space."""
    write(tmp_path, EXAMPLE.replace('routes = ["/orders"]', f'routes = ["{route}"]'))
    failed, _ = refusal(tmp_path)
    assert failed.startswith("faster/change.toml: purge.routes.0: string should match pattern")


@pytest.mark.parametrize("revision", ["--sql", "head; rm", "a b", "", "../1"])
def test_revision_must_be_a_plain_name(tmp_path: Path, revision: str) -> None:
    """A revision is an argument of a command, so it cannot look like an option."""
    write(tmp_path, EXAMPLE.replace('"0008"', f'"{revision}"'))
    failed, _ = refusal(tmp_path)
    assert failed.startswith("faster/change.toml: migrate.to: string should match pattern")


def test_error_lists_all_mistakes_without_values(tmp_path: Path) -> None:
    """The error of a file with three mistakes names all three, and contains no value."""
    text = EXAMPLE.replace(OWNER, 'ower = "s3cret-by-accident"\n').replace(ROLLBACK, "").replace("0.10", "7")
    write(tmp_path, text)
    failed, _ = refusal(tmp_path)
    assert failed == (
        "faster/change.toml: owner: missing; rollback: missing; "
        "judge.margin: input should be less than or equal to 1; ower: unknown key."
    )


@pytest.mark.parametrize("name", ["../x", "a/b", "Faster", "", ".", "-x", "a.b", "x" * 65, "faster\n"])
def test_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    """A name that could lead out of the folder of changes is refused before any file is read."""
    write(tmp_path, EXAMPLE)
    assert refusal(tmp_path, name) == (
        f"{name!r} is not a valid name of a change.",
        "Lower-case letters, digits and hyphens.",
    )


def test_unknown_name_lists_the_existing_changes(tmp_path: Path) -> None:
    """The error for an unknown name lists the existing changes."""
    assert refusal(tmp_path, "fster") == ("There is no change 'fster'.", "One of: (none yet).")
    write(tmp_path, EXAMPLE)
    write(tmp_path, EXAMPLE, "again")
    assert refusal(tmp_path, "fster") == ("There is no change 'fster'.", "One of: again, faster.")


def test_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    """The error for invalid TOML names the file and the line."""
    path = write(tmp_path, "service = shop\n")
    assert refusal(tmp_path) == (
        f"{path} cannot be read: Invalid value (at line 1, column 11).",
        "A readable TOML file in UTF-8.",
    )


def test_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """The error for another encoding names the file and the byte."""
    path = write(tmp_path, 'owner = "Jürgen"\n'.encode("latin-1"))
    assert refusal(tmp_path) == (
        f"{path} cannot be read: 'utf-8' codec can't decode byte 0xfc in position 10: invalid start byte.",
        "A readable TOML file in UTF-8.",
    )


def test_digest_is_the_digest_of_the_file(tmp_path: Path) -> None:
    """The digest changes with every byte of the file, even in a comment."""
    write(tmp_path, EXAMPLE)
    digests = [load_change(tmp_path, "faster")[1] for _ in range(2)]
    assert digests == [hashlib.sha256(EXAMPLE.encode()).hexdigest()] * 2
    write(tmp_path, EXAMPLE + "# reviewed\n")
    assert load_change(tmp_path, "faster")[1] != digests[0]


def test_own_control_of_a_target_takes_precedence(tmp_path: Path) -> None:
    """A target's own control overrides the change's control, and the pairs keep the order of the file."""
    own = '{ route = "/account", identity = "customer", control = { route = "/products/2" } }'
    change = load(tmp_path, EXAMPLE.replace("targets = [", f"targets = [{own}, "))
    assert change.pairs() == (
        Pair(route="/account", identity="customer", control_route="/products/2", control_identity="anonymous"),
        Pair(route="/orders", identity="customer", control_route="/products/1", control_identity="customer"),
    )


def test_own_controls_are_enough(tmp_path: Path) -> None:
    """If every target has its own control, the change needs none."""
    own = 'targets = [{ route = "/orders", control = { route = "/products/2" } }]\n'
    change = load(tmp_path, EXAMPLE.partition("[measure]")[0] + f"[measure]\n{own}")
    assert change.measure.control is None
    assert change.measure.targets[0].control == RouteAs(route="/products/2", identity="anonymous")


def test_required_audit_items_must_be_known_codes(tmp_path: Path) -> None:
    """A change lists the required audit items by code; an unknown code is refused."""
    assert load(tmp_path, 'audit = ["leak-probe", "vary"]\n' + EXAMPLE).audit == ("leak-probe", "vary")
    assert load(tmp_path, EXAMPLE).audit == ()
    write(tmp_path, 'audit = ["leak-prob"]\n' + EXAMPLE)
    assert "audit.0" in refusal(tmp_path)[0]
