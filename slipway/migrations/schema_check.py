"""Check that a database has the schema of its revision, and not a schema between two revisions.

A tool may commit in the middle of a migration (to build an index concurrently). If it then fails or is killed, the schema
has changed and the revision has not. The rehearsal recorded the schema before and after the migration.
"""

from __future__ import annotations

import logging

from slipway.core.errors import SlipwayError
from slipway.databases.database import Database
from slipway.migrations.rehearse import digest

logger = logging.getLogger("slipway.migrate")


class SchemaCheck:
    """The check of a live database at a revision, against the digest of that revision's schema ("" if unknown).

    `known_invalid` are the invalid indexes from before the migration. pg_dump omits invalid indexes from the schema.
    """

    def __init__(self, database: Database, revision: str, schema: str, known_invalid: tuple[str, ...]) -> None:
        self._database = database
        self._revision = revision
        self._schema = schema
        self._known_invalid = known_invalid
        self.dropped: list[str] = []

    def repair(self) -> None:
        """Drop the invalid indexes of a failed concurrent build, and add their names to `dropped`.

        Raises SlipwayError if the schema still differs from the revision's schema: a person must repair the database.
        """
        if not self._schema:
            return
        for index in sorted(set(self._database.invalid_indexes()) - set(self._known_invalid)):
            logger.warning("dropping the invalid index %s of an unfinished build", index)
            self._database.drop_invalid_index(index)
            self.dropped.append(index)
        if digest(self._database.schema()) == self._schema:
            return
        raise SlipwayError(
            f"The database is at revision {self._revision}, but its schema differs from the rehearsed schema of that revision. "
            f"It is between two revisions, or another session changed it.{_format_dropped(self.dropped)}",
            expected=f"The schema is that of revision {self._revision}. Compare it with another database at that revision, "
            "finish or undo the incomplete migration by hand, and ship again.",
            retry_is_safe=False,
        )


def _format_dropped(indexes: list[str]) -> str:
    return f" These invalid indexes were dropped: {', '.join(indexes)}." if indexes else ""
