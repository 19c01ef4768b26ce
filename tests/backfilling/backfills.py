"""A backfill of a real table, as its tests need it; run as a command, it is one process that can be killed."""

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
    """A folder of changes and a database with a table of accounts, whose balances sum to zero."""

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
        """Put a backfill, and perhaps its CSV file, into the folder of changes."""
        folder = self.settings.changes / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backfill.toml").write_text(content)
        if csv is not None:
            (folder / "rows.csv").write_text(csv)

    def backfill(
        self,
        content: str | None = None,
        tell: Callable[[BackfillProgress], None] = lambda _: None,
        paused_by: Callable[[], str] = lambda: "",
    ) -> Backfilled:
        """Write and run it."""
        if content is not None:
            self.write(content)
        return backfill(validate("more", self.settings), self.settings.changes, tell, paused_by)

    def run(self, statement: str) -> list[Any]:
        """The rows of one statement, committed."""
        with self._engine.connect() as connection:
            answer = connection.execute(text(statement))
            return [tuple(row) for row in answer] if answer.returns_rows else []

    def value(self, query: str) -> Any:
        """One value."""
        return self.run(query)[0][0]

    def balances(self) -> tuple[int, int, int]:
        """Sum, least and greatest of all balances: after one backfill of n rows n, 1, 1."""
        found: tuple[int, int, int] = self.run("SELECT sum(balance), min(balance), max(balance) FROM accounts")[0]
        return found


def main() -> None:
    """Run the backfill `more` of a folder, and say on a line of its own how far it is."""
    folder = Path(sys.argv[1])
    settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
    done = backfill(
        validate("more", settings),
        settings.changes,
        lambda progress: print(progress.rows_passed, flush=True),
        lambda: "",
    )
    print(json.dumps(done.model_dump()), flush=True)


if __name__ == "__main__":
    main()
