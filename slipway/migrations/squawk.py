"""squawk, the linter of PostgreSQL migrations: its findings with severities of our own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from slipway.core.errors import SlipwayError
from slipway.core.finding import Finding, Level
from slipway.databases.database import VERSION_TABLES
from slipway.migrations.sql_statements import split_statements

TIMEOUT_S = 60
EXIT_CODES = (0, 1)  # 1: it found something
RULES = "https://squawkhq.com/docs/"

# squawk calls nearly everything a warning. An error is what breaks the service or the migration whatever its size; an
# information is taste, or what the rehearsal on the copy decides. What is not named here is a warning.
LEVELS: dict[str, Level] = {
    "syntax-error": "error",
    "adding-required-field": "error",
    "ban-drop-database": "error",
    "ban-concurrent-index-creation-in-transaction": "error",
    "transaction-nesting": "info",
    "ban-drop-column": "info",
    "ban-drop-table": "info",
    "ban-drop-not-null": "info",
    "ban-char-field": "info",
    "identifier-too-long": "info",
    "prefer-bigint-over-int": "info",
    "prefer-bigint-over-smallint": "info",
    "prefer-identity": "info",
    "prefer-robust-stmts": "info",
    "prefer-text-field": "info",
    "prefer-timestamptz": "info",
    "require-table-schema": "info",
}
# Slipway sets both for the sessions of the service's commands.
SETTLED = ("require-timeout-settings", "require-lock-timeout", "require-statement-timeout")


class _Told(BaseModel):
    line: int  # from 0
    message: str
    help: str | None
    rule_name: str


TOLD = TypeAdapter(list[_Told])


def lint(sql: str) -> tuple[Finding, ...]:
    """squawk's findings, codes `squawk-<rule>`, in the order of the text; lines count from 1.

    What concerns a migration tool's own version table is left out. Raises SlipwayError when squawk is not there, does
    not end, or answers with anything but its findings: a migration that nobody linted is not one without findings.
    """
    ours = [
        range(statement.line, statement.line + statement.sql.count("\n") + 1)
        for statement in split_statements(sql)
        if any(token.text in VERSION_TABLES for token in statement.tokens[:6])
    ]
    told = [each for each in _ask(sql) if each.rule_name not in SETTLED]
    return tuple(_finding(each) for each in told if not any(each.line + 1 in lines for lines in ours))


def _finding(told: _Told) -> Finding:
    return Finding(
        code=f"squawk-{told.rule_name}",
        level=LEVELS.get(told.rule_name, "warning"),
        summary=f"Line {told.line + 1}: {told.message}",
        explanation=f"{told.help.rstrip('.')}. {RULES}{told.rule_name}" if told.help else f"{RULES}{told.rule_name}",
    )


def _ask(sql: str) -> list[_Told]:
    program = Path(sys.executable).parent / "squawk"  # of our own environment, whatever the path says
    with tempfile.TemporaryDirectory(prefix="slipway-squawk-") as empty:
        settings = Path(empty) / "squawk.toml"  # an empty one, so that no file of a folder above decides
        settings.touch()
        argv = [str(program), "--config", str(settings), "--reporter", "json"]
        try:
            ran = subprocess.run(argv, input=sql.encode(), cwd=empty, capture_output=True, timeout=TIMEOUT_S)
        except OSError as error:
            raise _unreadable(f"could not be started: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise _unreadable(f"did not end within {TIMEOUT_S} s") from None
    if ran.returncode not in EXIT_CODES:
        raise _unreadable(f"ended with {ran.returncode}: {ran.stderr.decode('utf-8', 'replace').strip()[-300:]}")
    try:
        told: list[_Told] = TOLD.validate_json(ran.stdout)
    except ValidationError:
        raise _unreadable(f"answered what is not its JSON: {_start(ran.stdout or ran.stderr)}") from None
    if ran.returncode != 0 and not told:
        raise _unreadable(f"ended with {ran.returncode} and told nothing")
    return told


def _start(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()[:300] or "nothing"


def _unreadable(what: str) -> SlipwayError:
    return SlipwayError(f"squawk {what}.", expected="squawk's findings as JSON.", retry_is_safe=True)
