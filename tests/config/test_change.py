"""The change file: what is read from it, and what is said when it is wrong."""

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
    """Put a change file into a folder of changes."""
    path = folder / name / "change.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(folder: Path, content: str) -> Change:
    """Write and load a change."""
    write(folder, content)
    return load_change(folder, "faster")[0]


def refusal(folder: Path, name: str = "faster") -> tuple[str, str]:
    """What is said of a change that cannot be loaded."""
    with pytest.raises(InvalidInput) as refused:
        load_change(folder, name)
    assert refused.value.retry_is_safe
    return refused.value.failed, refused.value.expected


def test_the_example_of_the_design(tmp_path: Path) -> None:
    """The example that people copy is a valid change with all its parts."""
    change = load(tmp_path, EXAMPLE)
    assert (change.service, change.owner) == ("shop", "orders team <orders@example.com>")
    assert change.migrate is not None and (change.migrate.start, change.migrate.to) == ("0007", "0008")
    assert change.purge is not None and (change.purge.routes, change.purge.tags) == (("/orders",), ("orders",))
    assert (change.judge.require, change.judge.margin, change.judge.on_regressed) == ("improved", 0.1, "roll back")
    assert change.judge.on_inconclusive == "freeze"


def test_the_optional_parts_are_optional(tmp_path: Path) -> None:
    """A change without migration, purge and judge section is one that only measures, and must not be slower."""
    change = load(tmp_path, EXAMPLE.partition("[migrate]")[0] + MEASURE)
    assert (change.migrate, change.purge, change.judge.require) == (None, None, "not-regressed")


MEASURE = '[measure]\ntargets = [{ route = "/orders" }]\ncontrol = { route = "/products/1" }\n'
OWNER = 'owner    = "orders team <orders@example.com>"\n'
ROLLBACK = 'rollback = "Drops the index again. No data is lost."\n'
CONTROL = 'control = { route = "/products/1", identity = "customer" }   # unaffected, same path through the cache\n'


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(OWNER, OWNER + 'risk = "low"\n', "risk: unknown key", id="unknown key"),
        pytest.param("require =", "requires =", "judge.requires: unknown key", id="unknown key in a section"),
        pytest.param(OWNER, "", "owner: missing", id="no owner"),
        pytest.param(ROLLBACK, "", "rollback: missing", id="no rollback note"),
        pytest.param(
            ROLLBACK, 'rollback = ""\n', "rollback: string should have at least 3 characters", id="empty rollback note"
        ),
        pytest.param('from = "0007"', "", "migrate.from: missing", id="no start"),
        pytest.param(CONTROL, "", "measure: no control for /orders", id="no control"),
        pytest.param(
            '{ route = "/orders", identity = "customer" }',
            "",
            "measure.targets: tuple should have at least 1 item after validation, not 0",
            id="no target",
        ),
        pytest.param(
            'routes = ["/orders"]\ntags   = ["orders"]',
            "",
            "purge: name at least one route or tag, or leave [purge] out",
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
def test_a_fault_is_named_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    """Whatever is wrong in the file is told with the file, the key, and the reason."""
    assert old in EXAMPLE
    write(tmp_path, EXAMPLE.replace(old, new, 1))
    assert refusal(tmp_path) == (f"faster/change.toml: {told}.", "Only known keys, each with a valid value.")


@pytest.mark.parametrize("route", ["orders", "http://evil.example/", "//evil.example/x", "/a b", "/a#b", "/a\\\\b", ""])
def test_a_route_is_a_path(tmp_path: Path, route: str) -> None:
    """A route cannot name another host, a fragment or a space."""
    write(tmp_path, EXAMPLE.replace('routes = ["/orders"]', f'routes = ["{route}"]'))
    failed, _ = refusal(tmp_path)
    assert failed.startswith("faster/change.toml: purge.routes.0: string should match pattern")


@pytest.mark.parametrize("revision", ["--sql", "head; rm", "a b", "", "../1"])
def test_a_revision_can_be_no_option(tmp_path: Path, revision: str) -> None:
    """A revision is handed to a command, so it cannot look like an option or like anything but a name."""
    write(tmp_path, EXAMPLE.replace('"0008"', f'"{revision}"'))
    failed, _ = refusal(tmp_path)
    assert failed.startswith("faster/change.toml: migrate.to: string should match pattern")


def test_all_faults_are_named_together(tmp_path: Path) -> None:
    """Somebody who made three mistakes reads about all three at once, and no value stands in the message."""
    text = EXAMPLE.replace(OWNER, 'ower = "s3cret-by-accident"\n').replace(ROLLBACK, "").replace("0.10", "7")
    write(tmp_path, text)
    failed, _ = refusal(tmp_path)
    assert failed == (
        "faster/change.toml: owner: missing; rollback: missing; "
        "judge.margin: input should be less than or equal to 1; ower: unknown key."
    )


@pytest.mark.parametrize("name", ["../x", "a/b", "Faster", "", ".", "-x", "a.b", "x" * 65, "faster\n"])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    """A name that could lead out of the folder of changes is refused before any file is looked for."""
    write(tmp_path, EXAMPLE)
    assert refusal(tmp_path, name) == (
        f"{name!r} cannot be a change's name.",
        "Lower-case letters, digits and hyphens.",
    )


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    """Who mistypes a name reads the names that there are."""
    assert refusal(tmp_path, "fster") == ("There is no change 'fster'.", "One of: none yet.")
    write(tmp_path, EXAMPLE)
    write(tmp_path, EXAMPLE, "again")
    assert refusal(tmp_path, "fster") == ("There is no change 'fster'.", "One of: again, faster.")


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    """Broken TOML is told with the file and the line."""
    path = write(tmp_path, "service = shop\n")
    assert refusal(tmp_path) == (
        f"{path} cannot be read: Invalid value (at line 1, column 11).",
        "A readable TOML file in UTF-8.",
    )


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    """A file in another encoding is told as such."""
    path = write(tmp_path, 'owner = "Jürgen"\n'.encode("latin-1"))
    assert refusal(tmp_path) == (
        f"{path} cannot be read: 'utf-8' codec can't decode byte 0xfc in position 10: invalid start byte.",
        "A readable TOML file in UTF-8.",
    )


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    """The digest stays the same while the file does, and changes with its first byte, also in a comment."""
    write(tmp_path, EXAMPLE)
    digests = [load_change(tmp_path, "faster")[1] for _ in range(2)]
    assert digests == [hashlib.sha256(EXAMPLE.encode()).hexdigest()] * 2
    write(tmp_path, EXAMPLE + "# looked at again\n")
    assert load_change(tmp_path, "faster")[1] != digests[0]


def test_each_target_has_its_control(tmp_path: Path) -> None:
    """A target's own control goes before the change's, and the order of the file is kept."""
    own = '{ route = "/account", identity = "customer", control = { route = "/products/2" } }'
    change = load(tmp_path, EXAMPLE.replace("targets = [", f"targets = [{own}, "))
    assert change.pairs() == (
        Pair(route="/account", identity="customer", control_route="/products/2", control_identity="anonymous"),
        Pair(route="/orders", identity="customer", control_route="/products/1", control_identity="customer"),
    )


def test_own_controls_alone_are_enough(tmp_path: Path) -> None:
    """When every target has its own control, the change needs none."""
    own = 'targets = [{ route = "/orders", control = { route = "/products/2" } }]\n'
    change = load(tmp_path, EXAMPLE.partition("[measure]")[0] + f"[measure]\n{own}")
    assert change.measure.control is None
    assert change.measure.targets[0].control == RouteAs(route="/products/2", identity="anonymous")


def test_items_of_an_audit_that_must_pass(tmp_path: Path) -> None:
    """They are named by their codes; an unknown one is refused."""
    assert load(tmp_path, 'audit = ["leak-probe", "vary"]\n' + EXAMPLE).audit == ("leak-probe", "vary")
    assert load(tmp_path, EXAMPLE).audit == ()
    write(tmp_path, 'audit = ["leak-prob"]\n' + EXAMPLE)
    assert "audit.0" in refusal(tmp_path)[0]
