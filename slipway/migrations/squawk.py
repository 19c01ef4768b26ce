"""Run squawk, a linter for PostgreSQL migrations, and map its findings to Slipway's levels."""

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
EXIT_CODES = (0, 1)  # 1: squawk reported findings
RULES = "https://squawkhq.com/docs/"

# squawk reports nearly every finding as a warning. Here, an error breaks the service or the migration at any table size.
# An info is a matter of style, or the rehearsal checks it on the copy. A rule that is not listed is a warning.
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
# Slipway sets both timeouts for the sessions of the service's commands, so these rules are ignored.
IGNORED = ("require-timeout-settings", "require-lock-timeout", "require-statement-timeout")


class _SquawkFinding(BaseModel):
    line: int  # from 0
    message: str
    help: str | None
    rule_name: str


SQUAWK_FINDINGS = TypeAdapter(list[_SquawkFinding])


def lint(sql: str) -> tuple[Finding, ...]:
    """Return squawk's findings with codes `squawk-<rule>`, in the order of the text; lines count from 1.

    Findings about a migration tool's own version table are skipped. Raises SlipwayError if squawk is missing, times out,
    or does not return its findings: a migration that was not checked must not look like one without findings.
    """
    version_table_lines = [
        range(statement.line, statement.line + statement.sql.count("\n") + 1)
        for statement in split_statements(sql)
        if any(token.text in VERSION_TABLES for token in statement.tokens[:6])
    ]
    findings = [finding for finding in _run_squawk(sql) if finding.rule_name not in IGNORED]
    return tuple(
        _finding(finding) for finding in findings if not any(finding.line + 1 in lines for lines in version_table_lines)
    )


def _finding(finding: _SquawkFinding) -> Finding:
    return Finding(
        code=f"squawk-{finding.rule_name}",
        level=LEVELS.get(finding.rule_name, "warning"),
        summary=f"Line {finding.line + 1}: {finding.message}",
        explanation=f"{finding.help.rstrip('.')}. {RULES}{finding.rule_name}"
        if finding.help
        else f"{RULES}{finding.rule_name}",
    )


def _run_squawk(sql: str) -> list[_SquawkFinding]:
    program = Path(sys.executable).parent / "squawk"  # from Slipway's own environment, not from PATH
    with tempfile.TemporaryDirectory(prefix="slipway-squawk-") as empty:
        settings = Path(empty) / "squawk.toml"  # an empty file, so that squawk ignores the files in parent folders
        settings.touch()
        argv = [str(program), "--config", str(settings), "--reporter", "json"]
        try:
            process = subprocess.run(argv, input=sql.encode(), cwd=empty, capture_output=True, timeout=TIMEOUT_S)
        except OSError as error:
            raise _error(f"could not be started: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise _error(f"did not finish within {TIMEOUT_S} s") from None
    if process.returncode not in EXIT_CODES:
        raise _error(f"exited with {process.returncode}: {process.stderr.decode('utf-8', 'replace').strip()[-300:]}")
    try:
        findings: list[_SquawkFinding] = SQUAWK_FINDINGS.validate_json(process.stdout)
    except ValidationError:
        raise _error(f"returned unexpected output: {_start(process.stdout or process.stderr)}") from None
    if process.returncode != 0 and not findings:
        raise _error(f"exited with {process.returncode} and returned no findings")
    return findings


def _start(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()[:300] or "nothing"


def _error(problem: str) -> SlipwayError:
    return SlipwayError(f"squawk {problem}.", expected="squawk returns its findings as JSON.", retry_is_safe=True)
