"""Load backfill files, and the error messages for invalid files."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.config.backfill import load_backfill
from slipway.core.errors import InvalidInput

EXAMPLE = """\
service = "shop"
owner = "accounts team"
reason = "Addresses were kept as typed"
expected = "every customer finds their account"
rollback = "nothing to undo"
table = "customers"
key = "id"
set = { email = "lower(trim(email))" }
where = "email <> lower(trim(email))"
"""
FROM_FILE = EXAMPLE.partition("set =")[0] + '[csv]\nfile = "rows.csv"\ncolumns = { id = "integer", email = "text" }\n'


def write(folder: Path, content: str, rows: str | None = None) -> None:
    """Write a backfill and its CSV file into a folder of changes."""
    (folder / "emails").mkdir(exist_ok=True)
    (folder / "emails" / "backfill.toml").write_text(content)
    if rows is not None:
        (folder / "emails" / "rows.csv").write_text(rows)


def refusal(folder: Path, name: str = "emails") -> str:
    """Return the error message for a backfill that cannot be loaded."""
    with pytest.raises(InvalidInput) as refused:
        load_backfill(folder, name)
    return refused.value.failed


def test_example_backfill_loads() -> None:
    """The example that users copy is valid."""
    backfill, digest = load_backfill(Path(__file__).parents[2] / "changes", "normalise-emails")
    assert (backfill.table, backfill.key, list(backfill.assign)) == ("customers", "id", ["email"])
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("table =", "tables =", "table: missing; tables: unknown key"),
        ('"customers"', '"customers; drop"', "table: string should match pattern"),
        ('"customers"', "'customers\"'", "table: string should match pattern"),
        ('key = "id"', 'key = "email"', "file: set must not change the key email"),
        ("lower(trim(email))", "lower(email); DROP TABLE x", "set.email: must be one SQL expression without ';'"),
        ("lower(trim(email))", "email -- or not", "set.email: must be one SQL expression without '--'"),
        ("email <>", "/* any */ email <>", "where: must be one SQL expression without '/*'"),
        ("set = {", "sets = {", "sets: unknown key"),
        ('set = { email = "lower(trim(email))" }\n', "", "file: set exactly one of set and csv"),
        ('rollback = "nothing to undo"\n', "", "rollback: missing"),
        ("where =", "[batch]\nsmallest = 5000\n#", "batch: start must be between smallest and largest"),
        ("where =", "[batch]\ntarget_s = 20\n#", "batch: target_s must be below statement_timeout_s"),
        ("where =", "[batch]\nlargest = 3000000\n#", "batch.largest: input should be less than or equal to 2000000"),
        ("where =", '[health]\nroute = "/"\n#', "health: set both route and latency_ms, or neither"),
    ],
)
def test_error_names_the_place_and_the_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The error of an invalid file names the file, the key, and the reason."""
    assert old in EXAMPLE
    write(tmp_path, EXAMPLE.replace(old, new, 1))
    failed = refusal(tmp_path)
    assert failed.startswith("emails/backfill.toml: ")
    assert message in failed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"rows.csv"', '"../rows.csv"', "csv.file: string should match pattern"),
        ('"rows.csv"', '"/etc/passwd"', "csv.file: string should match pattern"),
        ('"rows.csv"', '"other.csv"', "There is no file emails/other.csv."),
        ('"rows.csv"', '"rows.csv"\nmax_bytes = 5', "emails/rows.csv has more than 5 bytes."),
        ('id = "integer"', 'id = "text"', "csv.columns must declare the key id as integer"),
        ('email = "text"', 'email = "varchar"', "csv.columns.email: input should be 'integer', 'decimal'"),
        ("[csv]", 'where = "true"\n[csv]', "where is allowed only with set, not with csv"),
    ],
)
def test_invalid_csv_section_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A CSV file must be in the backfill's own folder, within its maximum size, and have a declared schema."""
    write(tmp_path, FROM_FILE.replace(old, new, 1), "id,email\n1,a@example.com\n")
    assert message in refusal(tmp_path)


def test_link_to_another_folder_is_refused(tmp_path: Path) -> None:
    """A symbolic link out of the folder is not followed."""
    write(tmp_path, FROM_FILE)
    (tmp_path / "secret.csv").write_text("id,email\n")
    (tmp_path / "emails" / "rows.csv").symlink_to(tmp_path / "secret.csv")
    assert refusal(tmp_path) == "emails/rows.csv is a link to another folder."


def test_defaults(tmp_path: Path) -> None:
    """By default no row may be skipped, and there are no health limits."""
    write(tmp_path, EXAMPLE)
    backfill, _ = load_backfill(tmp_path, "emails")
    assert (backfill.max_bad_rows, backfill.batch.target_s) == (0, 0.01)
    assert (backfill.health.longest_transaction_s, backfill.health.replication_lag_s) == (None, None)


def test_unknown_backfill_lists_the_existing_ones(tmp_path: Path) -> None:
    """The error for an unknown backfill lists the existing backfills; a change of that name does not count."""
    write(tmp_path, EXAMPLE)
    (tmp_path / "faster").mkdir()
    (tmp_path / "faster" / "change.toml").write_text("")
    with pytest.raises(InvalidInput) as refused:
        load_backfill(tmp_path, "faster")
    assert str(refused.value) == "There is no backfill 'faster'. Expected: One of: emails. A retry is safe."


def test_invalid_and_unknown_names_are_refused(tmp_path: Path) -> None:
    """An invalid name and an unknown name have different errors."""
    write(tmp_path, EXAMPLE)
    assert refusal(tmp_path, "../emails") == "'../emails' is not a valid name of a backfill."
    assert refusal(tmp_path, "mails") == "There is no backfill 'mails'."


def test_digest_covers_everything_that_decides_the_result(tmp_path: Path) -> None:
    """Batch settings, limits and sentences do not change the digest; expressions and the rows of a file do."""
    write(tmp_path, EXAMPLE)
    first = load_backfill(tmp_path, "emails")[1]
    write(tmp_path, EXAMPLE.replace("as typed", "as they came") + "[batch]\nstart = 50\n")
    assert load_backfill(tmp_path, "emails")[1] == first
    write(tmp_path, EXAMPLE.replace("lower(", "upper("))
    assert load_backfill(tmp_path, "emails")[1] != first
    write(tmp_path, FROM_FILE, "id,email\n1,a\n")
    rows = load_backfill(tmp_path, "emails")[1]
    write(tmp_path, FROM_FILE, "id,email\n1,b\n")
    assert load_backfill(tmp_path, "emails")[1] != rows
