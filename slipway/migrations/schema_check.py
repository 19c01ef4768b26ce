"""Whether a database that says it stands at a revision has the schema of it, or one between two revisions.

A tool that commits in the middle of a migration (for an index built concurrently) and then fails or is killed leaves a
schema that has moved and a revision that has not. The rehearsal has written down the schema at both ends.
"""

from __future__ import annotations

import logging

from slipway.core.errors import SlipwayError
from slipway.databases.database import Database
from slipway.migrations.rehearse import digest

logger = logging.getLogger("slipway.migrate")


class SchemaCheck:
    """A live database, the revision that it says, and the digest of the schema that belongs to it ("" for unknown).

    `known` are the invalid indexes that were there before; pg_dump leaves invalid ones out of the schema.
    """

    def __init__(self, database: Database, revision: str, schema: str, known: tuple[str, ...]) -> None:
        self._database = database
        self._revision = revision
        self._schema = schema
        self._known = known
        self.mended: list[str] = []

    def repair(self) -> None:
        """Drop what a broken concurrent build has left; `mended` tells what was dropped.

        Raises SlipwayError when the schema stands between two revisions all the same: what to do then is no rule's
        to guess.
        """
        if not self._schema:
            return
        for index in sorted(set(self._database.half_made()) - set(self._known)):
            logger.warning("dropping the invalid index %s, left by a build that did not end", index)
            self._database.drop_half_made(index)
            self.mended.append(index)
        if digest(self._database.schema()) == self._schema:
            return
        raise SlipwayError(
            f"The database says {self._revision}, but its schema is not the one that was rehearsed to be there: it stands "
            f"between two revisions, or somebody else has changed it.{_dropped(self.mended)}",
            expected=f"The schema of {self._revision}. Compare it with a database at {self._revision}, finish or undo by "
            "hand what is half done, and ship again.",
            retry_is_safe=False,
        )


def _dropped(indexes: list[str]) -> str:
    return f" Invalid indexes were dropped: {', '.join(indexes)}." if indexes else ""
