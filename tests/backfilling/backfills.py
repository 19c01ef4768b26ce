"""A backfill of a real table for the tests. As a command, it runs in a process that a test can kill."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from slipway.backfilling.backfill import backfill, validate
from slipway.backfilling.outcomes import Backfilled, BackfillProgress
from slipway.core.settings import Settings

VARIABLE = "TEST_BACKFILL_DATABASE_URL"
HEAD = """\
service = "shop"
owner = "shop team"
reason = "it is wrong"
expected = "it is right"
rollback = "nothing to undo"
table = "accounts"
key = "id"
"""
ADD_ONE = HEAD + 'set = { balance = "balance + 1" }\n'
TABLE = """
CREATE TABLE accounts (id bigint PRIMARY KEY, balance int NOT NULL CHECK (balance <> 500), note text, since date);
INSERT INTO accounts (id, balance) SELECT 3 * i, 0 FROM generate_series(1, {rows}) AS i;
"""


class World:
    """A folder of changes, and a database with a table of accounts whose balances are 0."""

    def __init__(self, folder: Path, url: str, rows: int = 1_000) -> None:
        self.folder, self.url = folder, url
        self.settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        entry = (
            '[[service]]\nname = "shop"\nurl = "http://127.0.0.1:9"\nroutes = ["/health"]\n'
            f'[service.database]\nurl = {{ env = "{VARIABLE}" }}\n'
        )
        self.settings.config.write_text(entry)
        os.environ[VARIABLE] = url
        for statement in TABLE.format(rows=rows).split(";\n"):
            if statement.strip():
                self.run(statement)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
        del os.environ[VARIABLE]

    def write(self, content: str, csv: str | None = None, name: str = "more") -> None:
        """Write a backfill, and optionally its CSV file, into the folder of changes."""
        folder = self.settings.changes / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backfill.toml").write_text(content)
        if csv is not None:
            (folder / "rows.csv").write_text(csv)

    def backfill(
        self,
        content: str | None = None,
        report: Callable[[BackfillProgress], None] = lambda _: None,
        paused_by: Callable[[], str] = lambda: "",
    ) -> Backfilled:
        """Write and run the backfill."""
        if content is not None:
            self.write(content)
        return backfill(validate("more", self.settings), self.settings.changes, report, paused_by)

    def run(self, statement: str) -> list[Any]:
        """Run one statement, commit it, and return its rows."""
        with self._engine.connect() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def value(self, query: str) -> Any:
        """Return one value."""
        return self.run(query)[0][0]

    def balances(self) -> tuple[int, int, int]:
        """Return sum, minimum and maximum of all balances. After one backfill of n rows, they are n, 1 and 1."""
        balances: tuple[int, int, int] = self.run("SELECT sum(balance), min(balance), max(balance) FROM accounts")[0]
        return balances


def main() -> None:
    """Run the backfill `more` of a folder, and print the number of rows that are done, one line per report."""
    folder = Path(sys.argv[1])
    settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
    result = backfill(
        validate("more", settings),
        settings.changes,
        lambda progress: print(progress.rows_passed, flush=True),
        lambda: "",
    )
    print(json.dumps(result.model_dump()), flush=True)


if __name__ == "__main__":
    main()
