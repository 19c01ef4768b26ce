"""Read recordings: files of timed requests, `due_s,route,latency_ms`, as CSV or CSV.gz."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path

from slipway.core.errors import InvalidInput
from slipway.measurement.bursts import Row

COLUMNS = ("due_s", "route", "latency_ms")
GZIP = b"\x1f\x8b"  # RFC 1952 section 2.3.1; checked in the content, so that a renamed file can be read


def read_recording(path: Path) -> list[Row]:
    """Return the rows of a recording, in the order of the file.

    Raises InvalidInput, with the file and the row (the header is row 1), if the file is missing, unreadable or empty, if a
    column is missing, or if a time is negative or not a number. Other columns are ignored.
    """
    try:
        return _rows(path, csv.DictReader(_text(path).splitlines()))
    except csv.Error as error:
        raise InvalidInput(f"{path} is not CSV: {error}.", expected=_layout()) from error


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw.startswith(GZIP) else raw).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist.", expected="The path of an existing recording.") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}.", expected="The file is CSV or CSV.gz in UTF-8."
        ) from error


def _rows(path: Path, table: csv.DictReader[str]) -> list[Row]:
    for column in COLUMNS:
        if column not in (table.fieldnames or ()):
            raise InvalidInput(f"{path} has no column {column}.", expected=_layout())
    rows = [_row(path, number, fields) for number, fields in _numbered(table)]
    if not rows:
        raise InvalidInput(f"{path} has no rows.", expected="The recording has at least one request per route.")
    return rows


def _numbered(table: csv.DictReader[str]) -> Iterable[tuple[int, Mapping[str, str | None]]]:
    return ((table.line_num, fields) for fields in table)


def _row(path: Path, number: int, fields: Mapping[str, str | None]) -> Row:
    route = fields["route"]
    if not route:
        raise InvalidInput(f"{path} row {number}: route is missing.", expected="Every row names a route.")
    return Row(_time(path, number, "due_s", fields), route, _time(path, number, "latency_ms", fields))


def _time(path: Path, number: int, column: str, fields: Mapping[str, str | None]) -> float:
    text = fields[column] or ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise InvalidInput(f"{path} row {number}: {column} is {text!r}.", expected="The time is a finite number.")
    if value < 0:
        raise InvalidInput(f"{path} row {number}: {column} is {text}.", expected="The time is zero or more.")
    return value


def _layout() -> str:
    return f"The file has a header row with {','.join(COLUMNS)}."
