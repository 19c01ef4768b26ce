"""A backfill: rows of one table to be changed in batches, written down in `changes/<name>/backfill.toml`."""

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
    """How large a batch may be and how long; its size follows `target_s` between `smallest` and `largest` rows.

    `load` is the share of the time that batches may take; the rest is rest. The defaults are gentle to people who use the
    table; `python -m benchmarks.live` measures how gentle.
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
            raise ValueError("smallest, start and largest must stand in this order")
        if self.target_s >= self.statement_timeout_s:
            raise ValueError("target_s must be below statement_timeout_s")
        return self


class Health(FrozenModel):
    """When the backfill holds; a limit that is left out is not looked at."""

    longest_transaction_s: float | None = Field(default=None, gt=0)
    replication_lag_s: float | None = Field(default=None, gt=0)
    wait_for_autovacuum: bool = True
    route: Route | None = None
    latency_ms: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _route_and_limit(self) -> Health:
        if (self.route is None) != (self.latency_ms is None):
            raise ValueError("route and latency_ms belong together")
        return self


class Signals(FrozenModel):
    """How the service and its database were at one look; None is what could not be seen."""

    longest_transaction_s: float | None = None
    replication_lag_s: float | None = None
    vacuuming: bool = False
    latency_ms: float | None = None


class CsvFile(FrozenModel):
    """Rows from a file beside the backfill's own, with the declared type of each column."""

    file: FileName
    max_bytes: int = Field(default=10_000_000, ge=1, le=50_000_000)
    columns: dict[Identifier, ColumnType] = Field(min_length=2)


class Backfill(FrozenModel):
    """One backfill: who, why, what is expected, how to get back, and which rows of which table get what.

    Either `set` gives SQL expressions over the row's own columns, for every row or those of `where`; or `csv` gives
    rows that are matched by `key`. Expressions run as they stand, with the rights of the service's database role.
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
            raise ValueError("either set or csv, not both and not neither")
        if self.csv is not None and self.where is not None:
            raise ValueError("where belongs to set, not to csv")
        if self.key in self.assign:
            raise ValueError(f"set must not change the key {self.key}")
        if self.csv is not None and self.csv.columns.get(self.key) != "integer":
            raise ValueError(f"csv.columns must declare the key {self.key} as integer")
        return self

    def digest(self, rows: bytes) -> str:
        """SHA-256 of what decides the outcome, `rows` being the CSV file; batches and limits may change on the way."""
        work = self.model_dump_json(include={"service", "table", "key", "assign", "where", "csv"})
        return hashlib.sha256(work.encode() + b"\0" + rows).hexdigest()


def load_backfill(directory: Path, name: str) -> tuple[Backfill, str]:
    """The backfill and its digest. Raises InvalidInput for a bad name or a file that is wrong, too large or missing."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(f"{name!r} cannot be a backfill's name.", expected="Lower-case letters, digits and hyphens.")
    path = directory / name / "backfill.toml"
    if not path.is_file():
        known = sorted(found.parent.name for found in directory.glob("*/backfill.toml"))
        raise InvalidInput(f"There is no backfill {name!r}.", expected=f"One of: {', '.join(known) or 'none yet'}.")
    backfill = parse(Backfill, read_toml(path), where=f"{name}/backfill.toml")
    return backfill, backfill.digest(read_csv(directory / name, backfill))


def read_csv(folder: Path, backfill: Backfill) -> bytes:
    """The bytes of the CSV file, empty without one. Raises InvalidInput when it is missing, elsewhere or too large."""
    if backfill.csv is None:
        return b""
    path, most = folder / backfill.csv.file, backfill.csv.max_bytes
    if not path.is_file():
        raise InvalidInput(f"There is no file {folder.name}/{path.name}.", expected="The CSV file that csv.file names.")
    if path.resolve().parent != folder.resolve():
        raise InvalidInput(f"{folder.name}/{path.name} leads elsewhere.", expected="A plain file in that folder.")
    with path.open("rb") as file:
        content = file.read(most + 1)  # never more in memory, whatever the file's size
    if len(content) > most:
        raise InvalidInput(
            f"{folder.name}/{path.name} has more than {most:,} bytes.", expected="A file within csv.max_bytes."
        )
    return content
