"""Read and validate the rows of a CSV file. A row's number is its number in a spreadsheet; the header is row 1."""

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
    """The good rows by number, with values in the order of `columns`, and the reasons of the bad rows by number."""

    columns: tuple[str, ...]
    good: dict[int, tuple[Any, ...]]
    bad: dict[int, str]

    @property
    def last(self) -> int:
        """Return the number of the last row."""
        return max([HEADER, *self.good, *self.bad])


def parse_rows(content: bytes, declared: CsvFile, key: str) -> CsvRows:
    """Read every row. Raises InvalidInput if the file is not UTF-8 or not CSV, or has other columns than declared.

    An empty field is NULL. A row is bad if a value does not have the declared type, if the number of fields is wrong, or
    if an earlier row has the same key.
    """
    records = _records(content, declared.file)
    columns = _header(next(records, (HEADER, []))[1], declared)
    good: dict[int, tuple[Any, ...]] = {}
    bad: dict[int, str] = {}
    first_row: dict[Any, int] = {}
    key_index = columns.index(key)
    for number, fields in records:
        if not fields:  # skip blank lines
            continue
        try:
            values = _values(fields, columns, declared)
            if values[key_index] is None:
                raise ValueError(f"{key}: empty")
            if first_row.setdefault(values[key_index], number) != number:
                raise ValueError(f"{key}: {values[key_index]} is already in row {first_row[values[key_index]]}")
            good[number] = values
        except ValueError as error:
            bad[number] = str(error)
    return CsvRows(columns, good, bad)


def _records(content: bytes, file: str) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        for number, fields in enumerate(reader, HEADER):
            yield number, fields
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 at byte {error.start}.", expected="A CSV file in UTF-8.") from None
    except csv.Error as error:
        raise InvalidInput(f"{file}, row {number + 1}: {error}.", expected="CSV according to RFC 4180.") from None


def _header(names: list[str], declared: CsvFile) -> tuple[str, ...]:
    if sorted(names) != sorted(declared.columns):
        raise InvalidInput(
            f"{declared.file}, row {HEADER}: the columns are {', '.join(names) or 'none'}.",
            expected=f"Each of these columns once: {', '.join(declared.columns)}.",
        )
    return tuple(names)


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
    except (ValueError, OverflowError):  # OverflowError: a time that does not exist in UTC
        raise ValueError(f"{name}: {field[:40]!r} is not a valid {kind}") from None


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
    """Return a time in UTC. The UTC offset is required: without it, the time is ambiguous."""
    timestamp = datetime.fromisoformat(field)
    if timestamp.tzinfo is None:
        raise ValueError
    return timestamp.astimezone(UTC)


PARSERS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "text": _text,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
}
