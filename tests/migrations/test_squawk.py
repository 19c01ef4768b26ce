"""Findings of the real squawk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipway.core.errors import SlipwayError
from slipway.migrations import squawk
from slipway.migrations.squawk import lint

MIGRATION = """BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL
);

ALTER TABLE orders ADD COLUMN note text NOT NULL;
CREATE INDEX orders_note ON orders (note);
ALTER TABLE orders DROP COLUMN old;
UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';
COMMIT;
"""


def test_findings_of_a_migration() -> None:
    """Findings have Slipway's levels and lines from 1; the version table and timeouts that Slipway sets are skipped."""
    findings = lint(MIGRATION)
    assert [(finding.code, finding.level, finding.summary.split(":")[0]) for finding in findings] == [
        ("squawk-adding-required-field", "error", "Line 7"),
        ("squawk-require-concurrent-index-creation", "warning", "Line 8"),
        ("squawk-ban-drop-column", "info", "Line 9"),
    ]
    assert findings[1].explanation.startswith("Use `concurrently` to avoid blocking writes. https://squawkhq.com/docs/")


def test_broken_sql_is_an_error() -> None:
    """SQL that squawk cannot parse is an error."""
    assert {(finding.code, finding.level) for finding in lint("SELEC 1")} == {("squawk-syntax-error", "error")}


@pytest.mark.parametrize("sql", ["", "SELECT 1;", "UPDATE a SET ü = 'ß' WHERE id = 1;"])
def test_harmless_sql_has_no_findings(sql: str) -> None:
    """Empty and harmless SQL have no findings."""
    assert lint(sql) == ()


def test_a_settings_file_of_the_current_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .squawk.toml in the current folder does not disable rules."""
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["ban-drop-column"]', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [finding.code for finding in lint("ALTER TABLE a DROP COLUMN IF EXISTS b")] == ["squawk-ban-drop-column"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 2", "squawk exited with 2: ."),
        ("echo oops >&2; exit 101", "squawk exited with 101: oops."),
        ("exit 0", "squawk returned unexpected output: nothing."),
        ("echo '[{\"line\": 1}]'; exit 1", "squawk returned unexpected output: [{\"line\": 1}]."),
        ("echo '[]'; exit 1", "squawk exited with 1 and returned no findings."),
        (None, "squawk could not be started: No such file or directory."),
    ],
)  # fmt: skip
def test_unexpected_output_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str
) -> None:
    """Any output other than findings is an error."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    if script is not None:
        program = tmp_path / "squawk"
        program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n", encoding="utf-8")
        program.chmod(0o700)
    with pytest.raises(SlipwayError) as failed:
        lint("SELECT 1")
    assert failed.value.failed == message


def test_squawk_is_killed_after_its_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A squawk that does not finish in time is killed, and that is an error."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(squawk, "TIMEOUT_S", 0.2)
    (tmp_path / "squawk").write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    (tmp_path / "squawk").chmod(0o700)
    with pytest.raises(SlipwayError, match=r"did not finish within 0\.2 s"):
        lint("SELECT 1")
