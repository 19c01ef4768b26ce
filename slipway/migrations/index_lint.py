"""What is wrong with indexes: duplicate, covered by another, invalid, unused; and whether a new one repeats an old one.

Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from slipway.core.finding import Finding, Level
from slipway.databases.catalog import Index
from slipway.databases.sizes import bytes_in_words

TWICE = "Each index is written at every change of its table and kept in memory; this one answers no query that {other} cannot."
BROKEN = (
    "No query reads it, and every write still maintains it. Drop it, or build it again: REINDEX INDEX CONCURRENTLY."
)
IDLE = (
    "Each write to the table maintains it. The count knows this server alone: a replica that answers queries counts for "
    "itself, and what runs once a year may not have run yet. Look there before it is dropped."
)


def index_findings(indexes: Sequence[Index]) -> tuple[Finding, ...]:
    """The invalid, duplicate, covered and unused ones, in the order of tables and names; one finding an index.

    An index of a partition goes with that of the whole table, so it is never judged alone.
    """
    by_table = _by_table(indexes)
    return tuple(
        finding
        for index in sorted(indexes, key=lambda each: (each.table, each.name))
        if (finding := _judge(index, by_table[index.table])) is not None
    )


def new_index_findings(before: Sequence[Index], after: Sequence[Index]) -> tuple[Finding, ...]:
    """What a migration's new indexes repeat, are covered by, or make superfluous; and the indexes that it left invalid."""
    old = {(index.table, index.name) for index in before}
    invalid_before = {(index.table, index.name) for index in before if not index.valid}
    by_table = _by_table(after)
    found: list[Finding] = []
    for index in sorted(after, key=lambda each: (each.table, each.name)):
        if not index.valid and (index.table, index.name) not in invalid_before:
            found.append(_finding("index-invalid", "error", f"{_named(index)} is invalid after the migration.", BROKEN))
        elif (index.table, index.name) not in old and index.valid:
            others = [other for other in by_table[index.table] if other.name != index.name]
            found.extend(_new(index, others, [other for other in others if (other.table, other.name) in old]))
    return tuple(found)


def _judge(index: Index, others: Sequence[Index]) -> Finding | None:
    if index.partition == "part":
        return None
    if not index.valid:
        return _finding("index-invalid", "error", f"{_named(index)} is invalid.", BROKEN)
    if twin := next((other for other in others if _is_superfluous_beside(index, other)), None):
        return _superfluous(index, twin, "warning")
    if index.scans or index.unique or index.constraint or index.partition:
        return None
    since = "the database was made" if index.counted_since is None else f"{index.counted_since:%Y-%m-%d}"
    said = f"{_named(index)} ({bytes_in_words(index.bytes)}) has not been used since {since}."
    return _finding("index-unused", "info", said, IDLE)


def _superfluous(index: Index, other: Index, level: Level) -> Finding:
    code, does = ("index-duplicate", "repeats") if _same(index, other) else ("index-covered", "is covered by")
    said = f"{_named(index)} ({bytes_in_words(index.bytes)}) {does} {other.name} on {_columns(other)}."
    return _finding(code, level, said, TWICE.format(other=other.name))


def _new(index: Index, others: Sequence[Index], old: Sequence[Index]) -> Iterator[Finding]:
    """`others` are all of its table afterwards, `old` those of them that were there before."""
    if index.partition == "part":
        return
    twin = next((other for other in old if not index.constraint and _covers(other, index)), None)
    twin = twin or next((other for other in others if _is_superfluous_beside(index, other)), None)
    if twin is not None:
        yield _superfluous(index, twin, "warning")
        return
    for other in old:
        if other.valid and not other.constraint and other.partition != "part" and _covers(index, other):
            said = f"The new index {index.name} covers {_named(other)} ({bytes_in_words(other.bytes)}), which could go."
            yield _finding("index-superseded", "info", said, TWICE.format(other=index.name))


def _is_superfluous_beside(index: Index, other: Index) -> bool:
    """Whether `other` makes `index` superfluous; of two that cover each other only one is: the later of their names."""
    if index.constraint or not _covers(other, index):
        return False
    return bool(other.constraint) or not _covers(index, other) or other.name < index.name


def _covers(wide: Index, narrow: Index) -> bool:
    """Whether every query and every rule that `narrow` serves is served by `wide`.

    The keys of one are the first of the other, with all that makes a key another. Only a B-tree is read by its first
    keys alone as well as by all (manual, "Multicolumn Indexes"); other methods cover only with the same keys.
    """
    alike = (wide.table, wide.method, wide.predicate) == (narrow.table, narrow.method, narrow.predicate)
    if not alike or wide.name == narrow.name or not wide.valid:
        return False
    if narrow.unique:  # only the same uniqueness replaces it
        same = wide.unique and wide.keys == narrow.keys and wide.nulls_distinct == narrow.nulls_distinct
    elif wide.method == "btree":
        same = wide.keys[: len(narrow.keys)] == narrow.keys
    else:
        same = wide.keys == narrow.keys
    return same and set(narrow.included) <= {*wide.keys, *wide.included}


def _same(index: Index, other: Index) -> bool:
    return index.keys == other.keys and set(index.included) == set(other.included)


def _by_table(indexes: Sequence[Index]) -> dict[str, list[Index]]:
    found: dict[str, list[Index]] = defaultdict(list)
    for index in sorted(indexes, key=lambda each: each.name):
        found[index.table].append(index)
    return found


def _named(index: Index) -> str:
    return f"{index.name} on {index.table} {_columns(index)}"


def _columns(index: Index) -> str:
    included = f" INCLUDE ({', '.join(index.included)})" if index.included else ""
    return f"({', '.join(index.keys)}){included}"


def _finding(code: str, level: Level, summary: str, explanation: str) -> Finding:
    return Finding(code=code, level=level, summary=summary, explanation=explanation)
