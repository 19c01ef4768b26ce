"""Redundant, invalid and unused indexes, and redundant new indexes of a migration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.databases.catalog import Index
from slipway.migrations.index_lint import index_findings, new_index_findings


def index(name: str, *keys: str, **more: Any) -> Index:
    """Return an index of the table orders that is in use."""
    fields: dict[str, Any] = {"table": "orders", "method": "btree", "scans": 5, "bytes": 2_000_000} | more
    return Index(name=name, keys=keys, **fields)


PRIMARY: dict[str, Any] = {"unique": True, "constraint": "primary key"}
UNIQUE: dict[str, Any] = {"unique": True, "constraint": "unique"}


def codes(*indexes: Index) -> list[str]:
    """Return the code and the index of each finding."""
    return [f"{finding.code} {finding.summary.split()[0]}" for finding in index_findings(indexes)]


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ([index("a", "x"), index("b", "x")], ["index-duplicate b"]),
        ([index("b", "x"), index("a", "x"), index("c", "x")], ["index-duplicate b", "index-duplicate c"]),
        ([index("a", "x"), index("b", "x", "y")], ["index-covered a"]),
        ([index("a", "x"), index("b", "x", "y"), index("c", "x", "y")], ["index-covered a", "index-duplicate c"]),
        ([index("a", "y"), index("b", "x", "y")], []),
        ([index("a", "x"), index("b", "x", table="customer")], []),
        ([index("a", "x"), index("b", "x", method="hash")], []),
        ([index("a", "x", method="gin"), index("b", "x", "y", method="gin")], []),
        ([index("a", "x", method="gin"), index("b", "x", method="gin")], ["index-duplicate b"]),
        ([index("a", "x"), index("b", "x", predicate="(y > 0)")], []),
        ([index("a", "x", predicate="(y > 0)"), index("b", "x", predicate="(y > 0)")], ["index-duplicate b"]),
        ([index("a", "x"), index("b", "x DESC")], []),
        ([index("a", "x"), index("b", "x text_pattern_ops")], []),
        ([index("a", "x"), index("b", 'x COLLATE "C"')], []),
        ([index("a", "lower(x)"), index("b", "lower(x)", "y")], ["index-covered a"]),
        ([index("a", "x", included=("y",)), index("b", "x")], ["index-covered b"]),
        ([index("a", "x", included=("y",)), index("b", "x", "y")], ["index-covered a"]),
        ([index("a", "x", included=("y", "z")), index("b", "x", included=("z", "y"))], ["index-duplicate b"]),
        ([index("a", "x", unique=True), index("b", "x")], ["index-duplicate b"]),
        ([index("a", "x"), index("b", "x", unique=True)], ["index-duplicate a"]),
        ([index("a", "x", unique=True), index("b", "x", "y")], []),
        ([index("a", "x", unique=True), index("b", "x", "y", unique=True)], []),
        ([index("a", "x", unique=True), index("b", "x", unique=True)], ["index-duplicate b"]),
        ([index("a", "x", unique=True), index("b", "x", unique=True, nulls_distinct=False)], []),
        ([index("z", "x", **PRIMARY), index("a", "x")], ["index-duplicate a"]),
        ([index("z", "x", **PRIMARY), index("a", "x", unique=True)], ["index-duplicate a"]),
        ([index("a", "x", **PRIMARY), index("b", "x", **UNIQUE)], []),
        ([index("a", "x", **UNIQUE), index("b", "x", "y")], []),
        ([index("a", "x", valid=False), index("b", "x")], ["index-invalid a"]),
        ([index("a", "x", valid=False), index("b", "x", "y", valid=False)], ["index-invalid a", "index-invalid b"]),
        ([index("a", "x", scans=0)], ["index-unused a"]),
        ([index("a", "x", scans=0, unique=True), index("b", "y", scans=0, **PRIMARY)], []),
        ([index("a", "x", scans=0), index("b", "x", "y")], ["index-covered a"]),
        ([index("a", "x", scans=0, partition="whole"), index("b", "y", scans=0, partition="part")], []),
        ([index("a", "x", partition="part"), index("b", "x", partition="part")], []),
        ([], []),
    ],
)  # fmt: skip
def test_each_index_has_at_most_one_finding(indexes: list[Index], expected: list[str]) -> None:
    """Of two indexes that cover each other only one is redundant; the index of a constraint never is."""
    assert codes(*indexes) == expected


def test_findings_name_index_size_columns_and_last_use() -> None:
    """A summary contains the name, the size, the columns, and the start of the unused time."""
    since = datetime(2026, 3, 1, tzinfo=UTC)
    invalid, covered, unused = index_findings(
        [
            index("orders_state", "state", "placed DESC", included=("note",)),
            index("b", "state"),
            index("a", "x", valid=False),
            index("c", "y", scans=0, bytes=3_400_000_000, counted_since=since),
        ]
    )
    assert (invalid.level, invalid.summary) == ("error", "a on orders (x) is invalid.")
    assert (covered.level, covered.summary) == (
        "warning",
        "b on orders (state) (2.0 MB) is covered by orders_state on (state, placed DESC) INCLUDE (note).",
    )
    assert (unused.level, unused.summary) == ("info", "c on orders (y) (3.4 GB) has not been used since 2026-03-01.")
    assert "replicas count their own queries" in unused.explanation
    [never] = index_findings([index("c", "y", scans=0)])
    assert never.summary.endswith("has not been used since the database was created.")


OLD = (index("old", "x"), index("wide", "y", "z"), index("key", "id", **PRIMARY), index("broken", "q", valid=False))


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ([index("new", "x")], [("index-duplicate", "warning")]),
        ([index("a_new", "x")], [("index-duplicate", "warning")]),
        ([index("new", "y")], [("index-covered", "warning")]),
        ([index("new", "id")], [("index-duplicate", "warning")]),
        ([index("new", "x", "y")], [("index-superseded", "info")]),
        ([index("new", "id", "x")], []),
        ([index("new", "x", unique=True)], [("index-superseded", "info")]),
        ([index("new", "x", **UNIQUE)], [("index-superseded", "info")]),
        ([index("new", "q")], []),
        ([index("new", "x", valid=False)], [("index-invalid", "error")]),
        ([index("new", "x", table="customer")], []),
        ([index("new", "x", partition="part")], []),
        ([index("new", "n"), index("new_too", "n")], [("index-duplicate", "warning")]),
        ([index("new", "n"), index("wider", "n", "m")], [("index-covered", "warning")]),
        ([index("new", "x"), index("new_too", "x")], [("index-duplicate", "warning")] * 2),
        ([], []),
    ],
)
def test_redundant_new_indexes(added: list[Index], expected: list[tuple[str, str]]) -> None:
    """A redundant, superseding or invalid new index is a finding; an index that was invalid before is not."""
    assert [(finding.code, finding.level) for finding in new_index_findings(OLD, [*OLD, *added])] == expected


def test_an_index_that_the_migration_left_invalid_is_an_error() -> None:
    """An old index that is invalid after the migration is an error."""
    [finding] = new_index_findings([index("old", "x")], [index("old", "x", valid=False)])
    assert (finding.code, finding.level) == ("index-invalid", "error")
    assert finding.summary == "old on orders (x) is invalid after the migration."


def test_an_index_that_replaces_a_dropped_one_is_no_finding() -> None:
    """A new index is not compared with an index that the migration dropped."""
    assert new_index_findings([index("old", "x")], [index("new", "x")]) == ()
