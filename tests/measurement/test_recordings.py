"""Test reading a recording, and the errors for an unreadable one."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from slipway.core.errors import InvalidInput
from slipway.measurement.bursts import Row
from slipway.measurement.recordings import read_recording

GOOD = "due_s,route,latency_ms\n0.000,/a,4.886\n0.004,/b,6.164\n"
ROWS = [Row(0.0, "/a", 4.886), Row(0.004, "/b", 6.164)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", GOOD.encode()),
        ("packed.csv.gz", gzip.compress(GOOD.encode(), mtime=0)),
        ("packed-but-renamed.csv", gzip.compress(GOOD.encode(), mtime=0)),
        ("spreadsheet.csv", b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()),
        ("more-columns.csv", b"note,latency_ms,route,due_s\nx,4.886,/a,0\nx,6.164,/b,0.004\n"),
    ],
)
def test_recording_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    """Plain or compressed, with a byte order mark or with more columns, the rows are the same."""
    (tmp_path / name).write_bytes(content)
    assert read_recording(tmp_path / name) == ROWS


@pytest.mark.parametrize(
    ("content", "failed"),
    [
        (b"", "has no column due_s."),
        (b"due_s,route\n", "has no column latency_ms."),
        (b"due_s,route,latency_ms\n", "has no rows."),
        (b"due_s,route,latency_ms\n0,/a,1\n0,/a,soon\n", "row 3: latency_ms is 'soon'."),
        (b"due_s,route,latency_ms\n0,/a,nan\n", "row 2: latency_ms is 'nan'."),
        (b"due_s,route,latency_ms\n0,/a\n", "row 2: latency_ms is ''."),
        (b"due_s,route,latency_ms\n-1,/a,1\n", "row 2: due_s is -1."),
        (b"due_s,route,latency_ms\n0,/a,-0.5\n", "row 2: latency_ms is -0.5."),
        (b"due_s,route,latency_ms\n0,,1\n", "row 2: route is missing."),
    ],
)
def test_error_names_file_and_row(tmp_path: Path, content: bytes, failed: str) -> None:
    """An error names the file, the row and the column."""
    path = tmp_path / "recording.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as error:
        read_recording(path)
    assert error.value.failed == f"{path} {failed}"
    assert error.value.retry_is_safe


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", gzip.compress(GOOD.encode(), mtime=0)[:-9], b"\x1f\x8bnot gzip"])
def test_unreadable_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    """A file that is neither text nor gzip, or is truncated, is an input error."""
    path = tmp_path / "recording.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_recording(path)


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    """A missing file is an input error."""
    with pytest.raises(InvalidInput, match="does not exist"):
        read_recording(tmp_path / "nowhere.csv")
