"""squawk's findings, from the real linter."""

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
    """Codes, our own levels, lines from 1, and nothing about the tool's own table or the limits that Slipway sets."""
    found = lint(MIGRATION)
    assert [(finding.code, finding.level, finding.summary.split(":")[0]) for finding in found] == [
        ("squawk-adding-required-field", "error", "Line 7"),
        ("squawk-require-concurrent-index-creation", "warning", "Line 8"),
        ("squawk-ban-drop-column", "info", "Line 9"),
    ]
    assert found[1].explanation.startswith("Use `concurrently` to avoid blocking writes. https://squawkhq.com/docs/")


def test_broken_sql_is_an_error() -> None:
    """What the linter cannot read is told as such."""
    assert {(finding.code, finding.level) for finding in lint("SELEC 1")} == {("squawk-syntax-error", "error")}


@pytest.mark.parametrize("sql", ["", "SELECT 1;", "UPDATE a SET ü = 'ß' WHERE id = 1;"])
def test_nothing_to_find(sql: str) -> None:
    """Harmless SQL has no findings."""
    assert lint(sql) == ()


def test_no_file_of_a_folder_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings file where we happen to stand does not switch rules off."""
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["ban-drop-column"]', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [finding.code for finding in lint("ALTER TABLE a DROP COLUMN IF EXISTS b")] == ["squawk-ban-drop-column"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 2", "squawk ended with 2: ."),
        ("echo oops >&2; exit 101", "squawk ended with 101: oops."),
        ("exit 0", "squawk answered what is not its JSON: nothing."),
        ("echo '[{\"line\": 1}]'; exit 1", "squawk answered what is not its JSON: [{\"line\": 1}]."),
        ("echo '[]'; exit 1", "squawk ended with 1 and told nothing."),
        (None, "squawk could not be started: No such file or directory."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, told: str
) -> None:
    """Another answer than findings is an error, never silence."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    if script is not None:
        program = tmp_path / "squawk"
        program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n", encoding="utf-8")
        program.chmod(0o700)
    with pytest.raises(SlipwayError) as failed:
        lint("SELECT 1")
    assert failed.value.failed == told


def test_a_linter_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and that is an error."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(squawk, "TIMEOUT_S", 0.2)
    (tmp_path / "squawk").write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    (tmp_path / "squawk").chmod(0o700)
    with pytest.raises(SlipwayError, match=r"did not end within 0\.2 s"):
        lint("SELECT 1")
