"""Dangerous statements in a migration's SQL, and harmless ones that look similar."""

from __future__ import annotations

import pytest

from slipway.databases.catalog import TableSize
from slipway.migrations.sql_lint import dangerous_statements
from slipway.migrations.sql_statements import split_statements

TABLES = tuple(
    TableSize(table=name, rows=rows, bytes=0, table_bytes=0, index_bytes=0)
    for name, rows in (("big", 1_000_000), ("small", 99_999), ("sales.Orders", 2_000_000), ("type", 500_000))
)

REWRITE = "sql-rewrite: Line 1 may rewrite all 1.0 M rows of big: "


def codes(sql: str) -> list[tuple[str, str]]:
    """Return the code and level of each finding."""
    return [(finding.code, finding.level) for finding in dangerous_statements(sql, TABLES)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE big SET a = 1", "sql-no-where: Line 1 updates every row of big: "),
        ("UPDATE ONLY sales.\"Orders\" AS o SET a = 1", "sql-no-where: Line 1 updates every row of sales.Orders: "),
        ("DELETE FROM Public.Small", "sql-no-where: Line 1 deletes every row of small: "),
        ("DELETE FROM small USING big", "sql-no-where: Line 1 deletes every row of small: "),
        ("WITH gone AS (DELETE FROM big RETURNING *) SELECT 1 WHERE true", "sql-no-where: Line 1 deletes every row of big: "),
        ("WITH one AS (SELECT 1 WHERE true) UPDATE big SET a = 1", "sql-no-where: Line 1 updates every row of big: "),
        ("TRUNCATE big, sales.\"Orders\" CASCADE", "sql-truncate: Line 1 empties big, sales.Orders: "),
        ("DROP TABLE IF EXISTS big, small CASCADE", "sql-drop-table: Line 1 drops the table big, small: "),
        ("ALTER TABLE small DROP COLUMN a", "sql-drop-column: Line 1 drops the column a of small: "),
        ("ALTER TABLE small DROP a", "sql-drop-column: Line 1 drops the column a of small: "),
        ("DROP SCHEMA sales CASCADE", "sql-drop-schema: Line 1 drops the schema sales: "),
        ("ALTER TABLE big ALTER COLUMN a TYPE bigint", REWRITE),
        ("ALTER TABLE big ADD c uuid DEFAULT gen_random_uuid()", REWRITE),
        ("ALTER TABLE big ADD c float DEFAULT 1 + random()", REWRITE),
        ("ALTER TABLE big ADD c timestamptz DEFAULT clock_timestamp()", REWRITE),
        ("ALTER TABLE big ADD c int GENERATED ALWAYS AS (a * 2) STORED", REWRITE),
        ("ALTER TABLE big ADD c bigserial", REWRITE),
        ("ALTER TABLE sales.\"Orders\" SET UNLOGGED", "sql-rewrite: Line 1 may rewrite all 2.0 M rows of sales.Orders: "),
        ("ALTER TABLE big SET TABLESPACE fast", REWRITE),
        ("VACUUM FULL big", REWRITE),
        ("VACUUM (FULL, ANALYZE) big", REWRITE),
        ("VACUUM FULL public.\"big\"", REWRITE),
        ("VACUUM FULL", "sql-rewrite: Line 1 may rewrite every table, including sales.Orders: "),
        ("CLUSTER", "sql-rewrite: Line 1 may rewrite every table, including sales.Orders: "),
        ("CLUSTER big USING big_pkey", REWRITE),
        ("SELEC 1", "sql-unparsable: Line 1 cannot be parsed: "),
        ("UPDATE big SET", "sql-unparsable: Line 1 cannot be parsed: "),
        ("SELECT 'no end", "sql-unparsable: Line 1 cannot be parsed: "),
        ("DO $$ BEGIN DELETE FROM big; END $$", "sql-unparsable: Line 1 runs SQL inside DO: "),
        ("CALL clean()", "sql-unparsable: Line 1 runs SQL inside CALL: "),
        ("EXPLAIN ANALYZE DELETE FROM big", "sql-unparsable: Line 1 runs SQL inside EXPLAIN: "),
        ("ALTER TABLE small ENABLE ROW LEVEL SECURITY, DROP COLUMN a", "sql-unparsable: Line 1 cannot be parsed: "),
        ("DROP OWNED BY grace", "sql-unparsable: Line 1 cannot be parsed: "),
    ],
)  # fmt: skip
def test_a_dangerous_statement_is_a_finding(sql: str, expected: str) -> None:
    """The finding has a code, and names the action, the table and the statement."""
    [finding] = dangerous_statements(sql, TABLES)
    code, summary = expected.split(": ", 1)
    assert (finding.code, finding.summary) == (code, summary + sql)
    assert finding.level == ("info" if code.startswith("sql-drop") else "warning")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE big SET a = 1 WHERE id < 7",
        "UPDATE big SET a = 1 WHERE true",
        "DELETE FROM big USING small WHERE big.id = small.id",
        "INSERT INTO small SELECT 'DELETE FROM big; UPDATE big SET a = 1' -- DROP TABLE big; TRUNCATE big",
        "SELECT $$ TRUNCATE big; $$, $x$ DELETE FROM big $x$, E'it\\'s; DROP TABLE big', 'it''s; DROP TABLE big'",
        "/* DELETE FROM big; /* UPDATE big SET a = 1; */ */ SELECT 1",
        "INSERT INTO small VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 2",
        "MERGE INTO small USING big ON small.id = big.id WHEN MATCHED THEN UPDATE SET a = 1",
        'SELECT "delete", "drop table" FROM small',
        "SELECT * FROM big FOR UPDATE",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM big; END $$",
        "CREATE TRIGGER t AFTER UPDATE OR DELETE ON big FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE POLICY p ON big FOR DELETE USING (true)",
        "CREATE UNIQUE INDEX CONCURRENTLY i ON big (lower(a)) INCLUDE (b) NULLS NOT DISTINCT",
        "ALTER TABLE big ADD COLUMN c int DEFAULT 3",
        "ALTER TABLE big ADD COLUMN c timestamptz DEFAULT now()",
        "ALTER TABLE big ADD CONSTRAINT z CHECK (a > 0) NOT VALID",
        "ALTER TABLE big VALIDATE CONSTRAINT z",
        "ALTER TABLE big DROP CONSTRAINT z",
        "ALTER TABLE big ALTER a DROP NOT NULL",
        "ALTER TABLE big SET (fillfactor = 70)",
        "ALTER TABLE small ALTER COLUMN a TYPE bigint",
        "ALTER TABLE type ENABLE ROW LEVEL SECURITY",
        "ALTER TYPE mood ADD VALUE 'DROP'",
        "VACUUM big",
        "VACUUM (FULL false) big",
        "DROP INDEX CONCURRENTLY i",
        "DROP VIEW v",
        "BEGIN; SET lock_timeout = '1s'; COMMIT; START TRANSACTION ISOLATION LEVEL SERIALIZABLE; END",
        "CREATE TABLE alembic_version (version_num text); UPDATE alembic_version SET version_num = '2'",
        "DELETE FROM alembic_version; DROP TABLE alembic_version",
        "COMMENT ON TABLE big IS 'DROP TABLE big'",
        "GRANT DELETE, TRUNCATE ON big TO grace",
        "",
        " ; ;; -- nothing\n",
    ],
)
def test_a_harmless_statement_is_no_finding(sql: str) -> None:
    """Strings, comments, quoted names and harmless variants are no findings."""
    expected = (
        [("sql-unparsable", "warning")] if "TABLE type" in sql else []
    )  # a table named type: a false positive is acceptable
    assert codes(sql) == expected


def test_findings_have_the_line_of_their_statement() -> None:
    """An invalid statement does not hide the others, and lines count from 1."""
    sql = "BEGIN;\n\nUPDATE big\n  SET a = 1;\nSELEC 1;\nALTER TABLE big DROP a, ALTER b TYPE int, DROP c;\nCOMMIT;"
    assert [(finding.code, finding.summary.split()[1]) for finding in dangerous_statements(sql, TABLES)] == [
        ("sql-no-where", "3"),
        ("sql-unparsable", "5"),
        ("sql-rewrite", "6"),
        ("sql-drop-column", "6"),
        ("sql-drop-column", "6"),
    ]


def test_a_long_statement_is_shortened() -> None:
    """The summary contains only the start of a long statement."""
    [finding] = dangerous_statements(f"DELETE FROM big USING ({' UNION '.join(['SELECT 1'] * 99)}) AS many", TABLES)
    assert len(finding.summary) < 180
    assert finding.summary.endswith("…")


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("SELECT 1; SELECT ';' ; ", ["SELECT 1", "SELECT ';'"]),
        ("DO $$ BEGIN a; END $$; SELECT 2", ["DO $$ BEGIN a; END $$", "SELECT 2"]),
        ("-- a; b\nSELECT 1 /* ; */ + 2", ["SELECT 1 /* ; */ + 2"]),
        ("", []),
        ("SELECT 'no end; SELECT 2", ["SELECT 'no end; SELECT 2"]),
    ],
)
def test_only_a_semicolon_between_statements_splits(sql: str, statements: list[str]) -> None:
    """A semicolon in a string, comment or function body does not split."""
    assert [statement.sql for statement in split_statements(sql)] == statements


def test_a_python_operation_is_reported_as_not_checked() -> None:
    """Django prints a Python operation only as a comment, which is a finding."""
    sql = "BEGIN;\n--\n-- Raw Python operation\n--\n-- THIS OPERATION CANNOT BE WRITTEN AS SQL\nDELETE FROM small;\nCOMMIT;"
    first, last = dangerous_statements(sql, TABLES)
    assert (first.code, last.code, last.level) == ("sql-no-where", "sql-unwritten", "warning")
    assert last.summary == "Line 5 says that an operation cannot be written as SQL."
    assert last.explanation == (
        "The operation was not checked. Check it by hand. The rehearsal shows the statements that it sends."
    )
    older_django = "-- MIGRATION NOW PERFORMS OPERATION THAT CANNOT BE WRITTEN AS SQL:\n-- Raw Python operation"
    assert codes(older_django) == [("sql-unwritten", "warning")]
    assert codes("SELECT '-- CANNOT BE WRITTEN AS SQL'") == []
