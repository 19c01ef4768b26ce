"""Find duplicate, covered, invalid and unused indexes, and new indexes that duplicate or supersede an old one.

Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from slipway.core.finding import Finding, Level
from slipway.databases.catalog import Index
from slipway.databases.sizes import format_bytes

REDUNDANT = "Every write to the table updates each of its indexes, and {other} can answer every query of this index."
INVALID = (
    "No query uses an invalid index, but every write maintains it. Drop it, or rebuild it: REINDEX INDEX CONCURRENTLY."
)
UNUSED = (
    "Every write to the table maintains the index. The counter covers only this server: replicas count their own queries, "
    "and a yearly job may not have run yet. Check both before you drop the index."
)


def index_findings(indexes: Sequence[Index]) -> tuple[Finding, ...]:
    """Return one finding for each invalid, duplicate, covered or unused index, sorted by table and name.

    The index of a partition belongs to the index of the whole table, so it gets no finding of its own.
    """
    by_table = _by_table(indexes)
    return tuple(
        finding
        for index in sorted(indexes, key=lambda index: (index.table, index.name))
        if (finding := _judge(index, by_table[index.table])) is not None
    )


def new_index_findings(before: Sequence[Index], after: Sequence[Index]) -> tuple[Finding, ...]:
    """Return the findings about a migration's new indexes: redundant, superseding an old index, or left invalid."""
    old = {(index.table, index.name) for index in before}
    invalid_before = {(index.table, index.name) for index in before if not index.valid}
    by_table = _by_table(after)
    findings: list[Finding] = []
    for index in sorted(after, key=lambda index: (index.table, index.name)):
        if not index.valid and (index.table, index.name) not in invalid_before:
            findings.append(
                _finding("index-invalid", "error", f"{_describe(index)} is invalid after the migration.", INVALID)
            )
        elif (index.table, index.name) not in old and index.valid:
            others = [other for other in by_table[index.table] if other.name != index.name]
            findings.extend(_new(index, others, [other for other in others if (other.table, other.name) in old]))
    return tuple(findings)


def _judge(index: Index, others: Sequence[Index]) -> Finding | None:
    if index.partition == "part":
        return None
    if not index.valid:
        return _finding("index-invalid", "error", f"{_describe(index)} is invalid.", INVALID)
    if twin := next((other for other in others if _is_redundant_with(index, other)), None):
        return _redundant(index, twin, "warning")
    if index.scans or index.unique or index.constraint or index.partition:
        return None
    since = "the database was created" if index.counted_since is None else f"{index.counted_since:%Y-%m-%d}"
    summary = f"{_describe(index)} ({format_bytes(index.bytes)}) has not been used since {since}."
    return _finding("index-unused", "info", summary, UNUSED)


def _redundant(index: Index, other: Index, level: Level) -> Finding:
    code, verb = ("index-duplicate", "duplicates") if _same(index, other) else ("index-covered", "is covered by")
    summary = f"{_describe(index)} ({format_bytes(index.bytes)}) {verb} {other.name} on {_columns(other)}."
    return _finding(code, level, summary, REDUNDANT.format(other=other.name))


def _new(index: Index, others: Sequence[Index], old: Sequence[Index]) -> Iterator[Finding]:
    """`others` are the other indexes of the table after the migration; `old` are those that existed before it."""
    if index.partition == "part":
        return
    twin = next((other for other in old if not index.constraint and _covers(other, index)), None)
    twin = twin or next((other for other in others if _is_redundant_with(index, other)), None)
    if twin is not None:
        yield _redundant(index, twin, "warning")
        return
    for other in old:
        if other.valid and not other.constraint and other.partition != "part" and _covers(index, other):
            old_index = f"{_describe(other)} ({format_bytes(other.bytes)})"
            summary = f"The new index {index.name} covers {old_index}, which can be dropped."
            yield _finding("index-superseded", "info", summary, REDUNDANT.format(other=index.name))


def _is_redundant_with(index: Index, other: Index) -> bool:
    """Return whether `other` makes `index` redundant. Of two that cover each other, the later name is redundant."""
    if index.constraint or not _covers(other, index):
        return False
    return bool(other.constraint) or not _covers(index, other) or other.name < index.name


def _covers(wide: Index, narrow: Index) -> bool:
    """Return whether `wide` serves every query and every constraint that `narrow` serves.

    For a B-tree, the keys of `narrow` are the first keys of `wide`, with the same order and operator class: a B-tree is
    as efficient for its first keys as for all keys (manual, "Multicolumn Indexes"). For other methods the keys are equal.
    """
    comparable = (wide.table, wide.method, wide.predicate) == (narrow.table, narrow.method, narrow.predicate)
    if not comparable or wide.name == narrow.name or not wide.valid:
        return False
    if narrow.unique:  # only an index with the same uniqueness replaces it
        same = wide.unique and wide.keys == narrow.keys and wide.nulls_distinct == narrow.nulls_distinct
    elif wide.method == "btree":
        same = wide.keys[: len(narrow.keys)] == narrow.keys
    else:
        same = wide.keys == narrow.keys
    return same and set(narrow.included) <= {*wide.keys, *wide.included}


def _same(index: Index, other: Index) -> bool:
    return index.keys == other.keys and set(index.included) == set(other.included)


def _by_table(indexes: Sequence[Index]) -> dict[str, list[Index]]:
    by_table: dict[str, list[Index]] = defaultdict(list)
    for index in sorted(indexes, key=lambda index: index.name):
        by_table[index.table].append(index)
    return by_table


def _describe(index: Index) -> str:
    return f"{index.name} on {index.table} {_columns(index)}"


def _columns(index: Index) -> str:
    included = f" INCLUDE ({', '.join(index.included)})" if index.included else ""
    return f"({', '.join(index.keys)}){included}"


def _finding(code: str, level: Level, summary: str, explanation: str) -> Finding:
    return Finding(code=code, level=level, summary=summary, explanation=explanation)
