"""The tables that VACUUM FULL and CLUSTER rewrite."""

import pytest

from slipway.migrations.table_rewrites import EVERY_TABLE, rewritten_tables

KNOWN = {"big", "large", "sales.big", 'Odd "one"'}


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("VACUUM FULL big", ["big"]),
        ("vacuum full verbose analyze Big", ["big"]),
        ("VACUUM (FULL) public.big", ["big"]),
        ("VACUUM(FULL, ANALYZE) sales.big, small, big (id, note)", ["sales.big", "big"]),
        ("VACUUM (ANALYZE, FULL true) sales . big", ["sales.big"]),
        ('VACUUM FULL "public"."big"', ["big"]),
        ('VACUUM FULL "Odd ""one"""', ['Odd "one"']),
        ('VACUUM FULL "Big"', []),
        ("VACUUM /* a comment\nover lines */ FULL -- and one more\n big;", ["big"]),
        ("VACUUM FULL", [EVERY_TABLE]),
        ("VACUUM (FULL);", [EVERY_TABLE]),
        ("VACUUM", []),
        ("VACUUM big", []),
        ("VACUUM (FULL false) big", []),
        ("VACUUM (FULL off, VERBOSE) big", []),
        ("VACUUM (FREEZE) full_history, big", []),
        ("VACUUM ANALYZE big", []),
        ("VACUUM FULL small", []),
        ("CLUSTER big USING big_pkey", ["big"]),
        ("CLUSTER (VERBOSE) public.big", ["big"]),
        ("CLUSTER VERBOSE sales.big", ["sales.big"]),
        ("CLUSTER big_pkey ON large", ["large"]),
        ("CLUSTER", [EVERY_TABLE]),
        ("CLUSTER VERBOSE;", [EVERY_TABLE]),
    ],
)
def test_rewritten_tables_are_found_by_any_spelling(sql: str, tables: list[str]) -> None:
    """A table is found by any valid spelling of its name, and only if the statement rewrites it."""
    assert rewritten_tables(sql, KNOWN) == tables
