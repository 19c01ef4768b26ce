"""The backfill file: what is read from it, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.backfill import Backfill, load_backfill
from slipway.errors import InvalidInput

EXAMPLE = """\
service  = "shop"
owner    = "accounts team <accounts@example.com>"
reason   = "addresses are compared in lower case"
expected = "every address is in lower case"
rollback = "nothing to undo"
table = "public.customers"
key = "id"
set = { email = "lower(email)" }
where = "email <> lower(email)"
max_bad_rows = 3
[batch]
target_s = 0.5
[health]
longest_transaction_s = 60
"""
CSV = EXAMPLE.replace('set = { email = "lower(email)" }\nwhere = "email <> lower(email)"\n', "").replace(
    "[batch]", '[csv]\nfile = "rows.csv"\ncolumns = { id = "integer", email = "text" }\n[batch]'
)
ONLY_KNOWN = "Only known keys, each with a valid value."


def write(folder: Path, content: str, name: str = "lower") -> Path:
    """Put a backfill file into a folder of changes."""
    path = folder / name / "backfill.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def load(folder: Path, content: str) -> tuple[Backfill, str]:
    """Write and load a backfill."""
    write(folder, content)
    return load_backfill(folder, "lower")


def refusal(folder: Path, name: str = "lower") -> tuple[str, str]:
    """What is said of a backfill that cannot be loaded."""
    with pytest.raises(InvalidInput) as refused:
        load_backfill(folder, name)
    assert refused.value.retry_is_safe
    return refused.value.failed, refused.value.expected


def test_the_example(tmp_path: Path) -> None:
    """Every key arrives; what is left out has its default, and no limit of health that nobody set."""
    found, digest = load(tmp_path, EXAMPLE)
    assert (found.service, found.table, found.key, found.assign) == (
        "shop",
        "public.customers",
        "id",
        {"email": "lower(email)"},
    )
    assert (found.where, found.max_bad_rows, found.batch.target_s) == ("email <> lower(email)", 3, 0.5)
    assert len(digest) == 64
    plain, _ = load(tmp_path, EXAMPLE[: EXAMPLE.index("max_bad_rows")])
    assert (plain.max_bad_rows, plain.batch.target_s, plain.health.longest_transaction_s) == (0, 1, None)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"public.customers"', '"customers; DROP TABLE x"', "table: string should match pattern"),
        ('"public.customers"', "'customers\"'", "table: string should match pattern"),
        ('"public.customers"', '"a.b.c"', "table: string should match pattern"),
        ('key = "id"', 'key = "id, other"', "key: string should match pattern"),
        ('key = "id"', "", "key: missing"),
        ("{ email =", '{ "email = 1, role" =', "set.email = 1, role.[key]: string should match pattern"),
        ('"lower(email)"', '"1; DROP TABLE customers"', "set.email: one SQL expression, without ';'"),
        ('"lower(email)"', '"1 --"', "set.email: one SQL expression, without '--'"),
        ('"email <> lower(email)"', '"true /* all"', "where: one SQL expression, without '/*'"),
        ("{ email =", "{ id =", "file: set must not change the key id"),
        ('set = { email = "lower(email)" }', "", "file: either set or csv, not both and not neither"),
        ("max_bad_rows = 3", "max_bad_rows = -1", "max_bad_rows: input should be greater than or equal to 0"),
        ("max_bad_rows", "max_bad_row", "max_bad_row: unknown key"),
        ("target_s = 0.5", "start = 10", "batch: smallest, start and largest must stand in this order"),
        ("target_s = 0.5", "target_s = 20", "batch: target_s must be below statement_timeout_s"),
        ("longest_transaction_s = 60", 'route = "/a"', "health: route and latency_ms belong together"),
        ('owner    = "accounts team <accounts@example.com>"\n', "", "owner: missing"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, old: str, new: str, told: str) -> None:
    """Each fault is named with its place; what could break out of its place in the SQL is refused."""
    assert old in EXAMPLE
    write(tmp_path, EXAMPLE.replace(old, new, 1))
    failed, expected = refusal(tmp_path)
    assert failed.startswith(f"lower/backfill.toml: {told}")
    assert expected == ONLY_KNOWN


def test_a_backfill_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is told with those that there are; a change of that name is no backfill."""
    assert refusal(tmp_path) == ("There is no backfill 'lower'.", "One of: none yet.")
    write(tmp_path, EXAMPLE, "upper")
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower" / "change.toml").write_text("")
    assert refusal(tmp_path) == ("There is no backfill 'lower'.", "One of: upper.")
    assert refusal(tmp_path, "../upper") == (
        "'../upper' cannot be a backfill's name.",
        "Lower-case letters, digits and hyphens.",
    )


def test_the_digest_is_of_what_decides_the_outcome(tmp_path: Path) -> None:
    """Batches, limits and sentences may change while a backfill is on its way; table, key, set and where may not."""
    _, digest = load(tmp_path, EXAMPLE)
    for old, new in [("target_s = 0.5", "target_s = 0.2"), ("= 60", "= 5"), ("nothing to undo", "nothing at all")]:
        assert load(tmp_path, EXAMPLE.replace(old, new))[1] == digest
    others = [("lower(email)", "upper(email)"), ("<>", "="), ("public.customers", "customers"), ('"id"', '"number"')]
    assert len({load(tmp_path, EXAMPLE.replace(old, new))[1] for old, new in others} | {digest}) == 5


def test_a_csv_file_is_part_of_the_digest(tmp_path: Path) -> None:
    """Another byte in it is another backfill; a file that is missing, too large or elsewhere is refused."""
    write(tmp_path, CSV)
    assert refusal(tmp_path) == ("There is no file lower/rows.csv.", "The CSV file that csv.file names.")
    rows = tmp_path / "lower" / "rows.csv"
    rows.write_text("id,email\n1,a\n")
    first = load_backfill(tmp_path, "lower")[1]
    rows.write_text("id,email\n1,b\n")
    assert load_backfill(tmp_path, "lower")[1] != first
    write(tmp_path, CSV.replace("[batch]", "max_bytes = 5\n[batch]"))
    assert refusal(tmp_path) == ("lower/rows.csv has more than 5 bytes.", "A file within csv.max_bytes.")
    write(tmp_path, CSV)
    rows.rename(tmp_path / "rows.csv")
    rows.symlink_to(tmp_path / "rows.csv")
    assert refusal(tmp_path) == ("lower/rows.csv leads elsewhere.", "A plain file in that folder.")
