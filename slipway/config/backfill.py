"""A backfill changes rows of one table in batches. Its file is `changes/<name>/backfill.toml`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from slipway.config.change import NAME, Sentence
from slipway.core.errors import InvalidInput
from slipway.core.frozen import Expression, FrozenModel, Route, ServiceName
from slipway.core.toml_files import parse, read_toml

_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]{0,62}"
ColumnType = Literal["integer", "decimal", "text", "boolean", "date", "timestamp"]


Identifier = Annotated[str, Field(pattern=f"^{_IDENTIFIER}$")]
TableName = Annotated[str, Field(pattern=rf"^{_IDENTIFIER}(\.{_IDENTIFIER})?$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]  # no slash: in the change's own folder


class Batch(FrozenModel):
    """The size and the duration of batches. The size adapts to `target_s`, between `smallest` and `largest` rows.

    `load` is the share of the time that batches may take; the backfill is idle for the rest. The defaults disturb users
    of the table little; `python -m benchmarks.live` measures how much.
    """

    target_s: float = Field(default=0.01, ge=0.001, le=60)
    start: int = Field(default=100, ge=1)
    smallest: int = Field(default=10, ge=1)
    largest: int = Field(default=200, le=2_000_000)
    load: float = Field(default=0.1, ge=0.001, le=1)
    statement_timeout_s: float = Field(default=15, ge=0.1, le=600)
    lock_timeout_s: float = Field(default=1, ge=0.05, le=60)
    pause_s: float = Field(default=0, ge=0, le=60)

    @model_validator(mode="after")
    def _ordered(self) -> Batch:
        if not self.smallest <= self.start <= self.largest:
            raise ValueError("start must be between smallest and largest")
        if self.target_s >= self.statement_timeout_s:
            raise ValueError("target_s must be below statement_timeout_s")
        return self


class Health(FrozenModel):
    """The limits at which the backfill waits. A limit that is left out is not checked."""

    longest_transaction_s: float | None = Field(default=None, gt=0)
    replication_lag_s: float | None = Field(default=None, gt=0)
    wait_for_autovacuum: bool = True
    route: Route | None = None
    latency_ms: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _route_and_limit(self) -> Health:
        if (self.route is None) != (self.latency_ms is None):
            raise ValueError("set both route and latency_ms, or neither")
        return self


class Signals(FrozenModel):
    """One sample of the health of the service and its database; None is a value that could not be read."""

    longest_transaction_s: float | None = None
    replication_lag_s: float | None = None
    vacuuming: bool = False
    latency_ms: float | None = None


class CsvFile(FrozenModel):
    """Rows from a CSV file in the backfill's folder, with the declared type of each column."""

    file: FileName
    max_bytes: int = Field(default=10_000_000, ge=1, le=50_000_000)
    columns: dict[Identifier, ColumnType] = Field(min_length=2)


class Backfill(FrozenModel):
    """One backfill: its owner, reason, expected effect and rollback, and the new values for rows of one table.

    Either `set` gives SQL expressions over the row's own columns, for every row or the rows of `where`; or `csv` gives
    rows that are matched by `key`. Expressions run unchanged, with the rights of the service's database role.
    """

    service: ServiceName
    owner: Sentence
    reason: Sentence
    expected: Sentence
    rollback: Sentence
    table: TableName
    key: Identifier
    assign: dict[Identifier, Expression] = Field(default={}, alias="set")
    where: Expression | None = None
    csv: CsvFile | None = None
    max_bad_rows: int = Field(default=0, ge=0, le=10_000)
    batch: Batch = Batch()
    health: Health = Health()

    @model_validator(mode="after")
    def _one_source(self) -> Backfill:
        if bool(self.assign) == (self.csv is not None):
            raise ValueError("set exactly one of set and csv")
        if self.csv is not None and self.where is not None:
            raise ValueError("where is allowed only with set, not with csv")
        if self.key in self.assign:
            raise ValueError(f"set must not change the key {self.key}")
        if self.csv is not None and self.csv.columns.get(self.key) != "integer":
            raise ValueError(f"csv.columns must declare the key {self.key} as integer")
        return self

    def digest(self, rows: bytes) -> str:
        """Return the SHA-256 of everything that decides the result. `rows` is the content of the CSV file.

        Batch settings and limits do not count: these may change while the backfill runs.
        """
        definition = self.model_dump_json(include={"service", "table", "key", "assign", "where", "csv"})
        return hashlib.sha256(definition.encode() + b"\0" + rows).hexdigest()


def load_backfill(directory: Path, name: str) -> tuple[Backfill, str]:
    """Load the backfill and its digest. Raises InvalidInput for a bad name, or an invalid, too large or missing file."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            f"{name!r} is not a valid name of a backfill.", expected="Lower-case letters, digits and hyphens."
        )
    path = directory / name / "backfill.toml"
    if not path.is_file():
        known = sorted(file.parent.name for file in directory.glob("*/backfill.toml"))
        raise InvalidInput(f"There is no backfill {name!r}.", expected=f"One of: {', '.join(known) or '(none yet)'}.")
    backfill = parse(Backfill, read_toml(path), where=f"{name}/backfill.toml")
    return backfill, backfill.digest(read_csv(directory / name, backfill))


def read_csv(folder: Path, backfill: Backfill) -> bytes:
    """Return the bytes of the CSV file, empty without one. Raises InvalidInput if it is missing, elsewhere or too large."""
    if backfill.csv is None:
        return b""
    path, max_bytes = folder / backfill.csv.file, backfill.csv.max_bytes
    if not path.is_file():
        raise InvalidInput(f"There is no file {folder.name}/{path.name}.", expected="The CSV file that csv.file names.")
    if path.resolve().parent != folder.resolve():
        raise InvalidInput(
            f"{folder.name}/{path.name} is a link to another folder.",
            expected="A regular file in the backfill's folder.",
        )
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)  # limits the memory, whatever the file's size
    if len(content) > max_bytes:
        raise InvalidInput(
            f"{folder.name}/{path.name} has more than {max_bytes:,} bytes.",
            expected="A smaller file, or a larger csv.max_bytes.",
        )
    return content
