"""The rows of a CSV file held against a declared schema; a row's number is its line in a spreadsheet, the header's 1."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from slipway.config.backfill import CsvFile
from slipway.core.errors import InvalidInput

HEADER = 1
LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class CsvRows:
    """The good rows by number, their values in the order of `columns`; the bad ones by number with the reason."""

    columns: tuple[str, ...]
    good: dict[int, tuple[Any, ...]]
    bad: dict[int, str]

    @property
    def last(self) -> int:
        """The number of the last row."""
        return max([HEADER, *self.good, *self.bad])


def parse_rows(content: bytes, declared: CsvFile, key: str) -> CsvRows:
    """Read every row. Raises InvalidInput for a file that is no UTF-8, no CSV, or has another header.

    An empty field is NULL. A row with a value that does not fit its type, with too few or too many fields, or with a
    key that an earlier row has, is bad.
    """
    records = _records(content, declared.file)
    columns = _header(next(records, (HEADER, []))[1], declared)
    good: dict[int, tuple[Any, ...]] = {}
    bad: dict[int, str] = {}
    first_with: dict[Any, int] = {}
    at = columns.index(key)
    for number, fields in records:
        if not fields:  # a blank line is no row
            continue
        try:
            values = _values(fields, columns, declared)
            if values[at] is None:
                raise ValueError(f"{key}: empty")
            if first_with.setdefault(values[at], number) != number:
                raise ValueError(f"{key}: {values[at]} stands in row {first_with[values[at]]} already")
            good[number] = values
        except ValueError as fault:
            bad[number] = str(fault)
    return CsvRows(columns, good, bad)


def _records(content: bytes, file: str) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        for number, fields in enumerate(reader, HEADER):
            yield number, fields
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is no UTF-8 at byte {error.start}.", expected="A CSV file in UTF-8.") from None
    except csv.Error as error:
        raise InvalidInput(f"{file}, row {number + 1}: {error}.", expected="CSV as RFC 4180 says.") from None


def _header(found: list[str], declared: CsvFile) -> tuple[str, ...]:
    if sorted(found) != sorted(declared.columns):
        raise InvalidInput(
            f"{declared.file}, row {HEADER}: the columns are {', '.join(found) or 'none'}.",
            expected=f"Each of these once: {', '.join(declared.columns)}.",
        )
    return tuple(found)


def _values(fields: list[str], columns: tuple[str, ...], declared: CsvFile) -> tuple[Any, ...]:
    if len(fields) != len(columns):
        raise ValueError(f"{len(fields)} fields instead of {len(columns)}")
    return tuple(_value(name, field, declared) for name, field in zip(columns, fields, strict=True))


def _value(name: str, field: str, declared: CsvFile) -> Any:
    if field == "":
        return None
    kind = declared.columns[name]
    try:
        return PARSERS[kind](field)
    except (ValueError, OverflowError):  # the latter from a moment that does not exist in UTC
        raise ValueError(f"{name}: {field[:40]!r} is no {kind}") from None


def _integer(field: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", field) or abs(int(field)) > LARGEST_INTEGER:
        raise ValueError
    return int(field)


def _decimal(field: str) -> Decimal:
    if not re.fullmatch(r"[+-]?[0-9]{1,100}(\.[0-9]{1,100})?", field):
        raise ValueError
    return Decimal(field)


def _text(field: str) -> str:
    if "\0" in field:
        raise ValueError
    return field


def _boolean(field: str) -> bool:
    if field.lower() not in ("true", "false"):
        raise ValueError
    return field.lower() == "true"


def _date(field: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", field):
        raise ValueError
    return date.fromisoformat(field)


def _timestamp(field: str) -> datetime:
    """With its offset, as a time without one is another moment in another place."""
    found = datetime.fromisoformat(field)
    if found.tzinfo is None:
        raise ValueError
    return found.astimezone(UTC)


PARSERS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "text": _text,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
}
