"""Large tables, and sizes and durations as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.databases.catalog import LARGE_ROWS, TableSize


def large_tables(tables: Sequence[TableSize], large_rows: int = LARGE_ROWS) -> dict[str, int]:
    """Return the number of rows of each table that has at least `large_rows` rows."""
    return {table.table: table.rows for table in tables if table.rows >= large_rows}


def format_rows(rows: float) -> str:
    """Return "7 rows", "12.3 k rows" or "1.0 M rows"."""
    if rows < 1_000:
        return "1 row" if round(rows) == 1 else f"{rows:.0f} rows"
    return f"{rows / 1e6:.1f} M rows" if rows >= 1e6 else f"{rows / 1e3:.1f} k rows"


def format_bytes(size: int) -> str:
    """Return "8 kB", "1.2 MB" or "3.4 GB", in powers of ten."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def format_seconds(seconds: float) -> str:
    """Return "8 s", "12 min" or "3.4 h"."""
    for unit, factor, below in (("s", 1, 90), ("min", 60, 90 * 60)):
        if seconds < below:
            return f"{seconds / factor:.0f} {unit}" if seconds >= 1 else f"{seconds:.1f} s"
    return f"{seconds / 3_600:.1f} h"
