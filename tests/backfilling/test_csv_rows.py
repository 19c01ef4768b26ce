"""Validation of CSV rows: types, header, encoding, and the row number in every error."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from slipway.backfilling.csv_rows import CsvRows, parse_rows
from slipway.config.backfill import CsvFile
from slipway.core.errors import InvalidInput

EVERY = CsvFile(
    file="rows.csv",
    columns={"id": "integer", "d": "decimal", "t": "text", "b": "boolean", "day": "date", "at": "timestamp"},
)
HEAD = "id,d,t,b,day,at\n"


def parse(text: str | bytes, declared: CsvFile = EVERY) -> CsvRows:
    """Return the rows of a text."""
    return parse_rows(text if isinstance(text, bytes) else text.encode(), declared, "id")


def test_each_type_is_parsed() -> None:
    """Each declared type gives its Python type. A byte-order mark and quoted line breaks are allowed."""
    rows = parse("\ufeff" + HEAD + '7,-1.50,"a ""b""\nc",TRUE,2026-02-28,2026-01-01T00:30:00+01:00\r\n')
    assert rows.bad == {}
    assert rows.good == {
        2: (7, Decimal("-1.50"), 'a "b"\nc', True, date(2026, 2, 28), datetime(2025, 12, 31, 23, 30, tzinfo=UTC))
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1.5,,,,,", "id: '1.5' is not a valid integer"),
        ("9223372036854775808,,,,,", "id: '9223372036854775808' is not a valid integer"),
        (",,,,,", "id: empty"),
        ("3,NaN,,,,", "d: 'NaN' is not a valid decimal"),
        ("3,1e5,,,,", "d: '1e5' is not a valid decimal"),
        ("3,,a\0b,,,", "t: 'a\\x00b' is not a valid text"),
        ("3,,,yes,,", "b: 'yes' is not a valid boolean"),
        ("3,,,,2026-02-30,", "day: '2026-02-30' is not a valid date"),
        ("3,,,,,2026-01-01T00:00:00", "at: '2026-01-01T00:00:00' is not a valid timestamp"),
        ("3,,,,,0001-01-01T00:00:00+23:00", "at: '0001-01-01T00:00:00+23:00' is not a valid timestamp"),
        ("3,,", "3 fields instead of 6"),
        ("2,,,,,", "id: 2 is already in row 2"),
    ],
)
def test_a_bad_row_has_its_number_and_reason(row: str, reason: str) -> None:
    """The reason names the column. The other rows are good."""
    rows = parse(f"{HEAD}2,,,,,\n{row}\n4,,,,,\n")
    assert rows.bad == {3: reason}
    assert sorted(rows.good) == [2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "rows.csv, row 1: the columns are none."),
        ("id,d,t,b,day\n", "rows.csv, row 1: the columns are id, d, t, b, day."),
        ("id,d,t,b,day,at,at\n", "rows.csv, row 1: the columns are id, d, t, b, day, at, at."),
        (HEAD.encode() + b"3,,\xff,,,\n", "rows.csv is not UTF-8 at byte 19."),
        (HEAD + '3,,"a"b,,,\n', "rows.csv, row 2: ',' expected after '\"'."),
    ],
)
def test_a_bad_file_is_rejected(content: str | bytes, message: str) -> None:
    """A file with a wrong header, encoding or syntax is rejected as a whole."""
    with pytest.raises(InvalidInput) as refused:
        parse(content)
    assert refused.value.failed == message


def test_blank_lines_are_skipped() -> None:
    """Blank lines count for the row numbers, so that the numbers match the file."""
    rows = parse(f"{HEAD}\n2,,,,,\n\n3,,,,,\n\n")
    assert sorted(rows.good) == [3, 5]
    assert rows.bad == {}
