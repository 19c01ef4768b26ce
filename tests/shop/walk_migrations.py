"""Walk all migrations up and down, and print the schema at each revision. The shop's own Python runs this.

Arguments: the path of pg_dump. Standard output: `{"up": {revision: schema}, "down": {revision: schema}}`.
"""

import contextlib
import json
import os
import subprocess
import sys

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def dump_schema() -> str:
    """Return the dump of the schema, without Alembic's own table and without pg_dump's random key."""
    url = os.environ["DATABASE_URL"].replace("+psycopg", "")
    pg_dump = [sys.argv[1], "--schema-only", "--exclude-table=alembic_version", url]
    dump = subprocess.run(pg_dump, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in dump.splitlines() if "restrict" not in line.split(" ")[0])


def walk() -> dict[str, dict[str, str]]:
    """Upgrade one revision at a time, then downgrade. Return the schema at each revision."""
    config = Config("alembic.ini")
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    up, down = {"base": dump_schema()}, {}
    for revision in revisions:
        command.upgrade(config, revision)
        up[revision] = dump_schema()
    for revision in ["base", *revisions[:-1]][::-1]:
        command.downgrade(config, revision)
        down[revision] = dump_schema()
    return {"up": up, "down": down}


with contextlib.redirect_stdout(sys.stderr):
    schemas = walk()
print(json.dumps(schemas))
