"""The tables of backfills in the service's own database, and the statements on them."""

from __future__ import annotations

from sqlalchemy import TextClause, text

TABLES = (
    """CREATE TABLE IF NOT EXISTS slipway_backfill (
        name text PRIMARY KEY, digest text NOT NULL, span_start bigint NOT NULL, upper bigint NOT NULL,
        cursor bigint NOT NULL, total bigint NOT NULL, total_is_exact boolean NOT NULL,
        rows_passed bigint NOT NULL DEFAULT 0, rows_changed bigint NOT NULL DEFAULT 0,
        rows_skipped bigint NOT NULL DEFAULT 0, started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz)
    """,
    """CREATE TABLE IF NOT EXISTS slipway_backfill_skipped (
        name text NOT NULL, position bigint NOT NULL, reason text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (name, position))
    """,
)
HAS_TABLES = text("""
    SELECT to_regclass('slipway_backfill') IS NOT NULL AND to_regclass('slipway_backfill_skipped') IS NOT NULL
""")
SET_LIMITS = """
    set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true),
    set_config('TimeZone', 'UTC', true)
"""
# Two sessions that create the same table at the same time fail in the catalog, even with IF NOT EXISTS.
LOCK_CREATION = text("SELECT pg_advisory_xact_lock(hashtextextended('slipway: tables of a backfill', 0))")
COLUMNS = "digest, upper, cursor, total, total_is_exact, rows_passed, rows_changed, rows_skipped, finished_at"
SELECT_STATE = text(f"SELECT {COLUMNS} FROM slipway_backfill WHERE name = :name")  # noqa: S608
ADVANCE = text(f"""
    UPDATE slipway_backfill SET cursor = :cursor, rows_passed = rows_passed + :passed,
        rows_changed = rows_changed + :changed, rows_skipped = rows_skipped + :skipped
    WHERE name = :name AND cursor = :after AND finished_at IS NULL RETURNING {COLUMNS}
""")  # noqa: S608
FINISH = text(f"""
    UPDATE slipway_backfill SET finished_at = clock_timestamp()
    WHERE name = :name AND cursor = :after AND finished_at IS NULL RETURNING {COLUMNS}
""")  # noqa: S608
BEGIN = text("""
    INSERT INTO slipway_backfill (name, digest, span_start, upper, cursor, total, total_is_exact)
    VALUES (:name, :digest, :after, :upto, :after, :total, :exact) ON CONFLICT DO NOTHING
""")
SKIP = text("INSERT INTO slipway_backfill_skipped (name, position, reason) VALUES (:name, :position, :reason)")
SKIPPED = text("SELECT position, reason FROM slipway_backfill_skipped WHERE name = :name ORDER BY position")
UNSKIP = text("DELETE FROM slipway_backfill_skipped WHERE name = :name AND position = :position")
COUNT_RETRIED = text("""
    UPDATE slipway_backfill SET rows_changed = rows_changed + :changed, rows_skipped = rows_skipped - 1
    WHERE name = :name
""")
LIMITS = text(f"SELECT {SET_LIMITS}")


def edge_query(edge: str) -> TextClause:
    """Return a query that sets the time limits and runs `edge` (columns `last`, `rows`) in one round trip."""
    return text(
        f"WITH limits AS MATERIALIZED (SELECT {SET_LIMITS}), edge AS MATERIALIZED ({edge})"  # noqa: S608
        " SELECT edge.last, edge.rows FROM limits, edge"
    )


def whole_batch(edge: str, change: str) -> str:
    """Return a statement that runs a whole batch: it finds the edge, changes the rows up to it, and moves the cursor.

    `edge` returns the columns `last` and `rows`. `change` refers to `(SELECT last FROM edge)` and returns one row for each
    changed row. The statement first locks the row of the cursor. If the cursor has moved since it was read, there is no
    edge and nothing changes. Then the statement returns no row, as it also does when the span has no rows left.
    """
    return f"""
        WITH held AS MATERIALIZED (
            SELECT FROM slipway_backfill WHERE name = :name AND cursor = :after AND finished_at IS NULL FOR UPDATE
        ), edge AS MATERIALIZED (
            SELECT batch.last, batch.rows FROM held, ({edge}) AS batch WHERE batch.last IS NOT NULL
        ), changed AS ({change})
        UPDATE slipway_backfill SET cursor = edge.last, rows_passed = rows_passed + edge.rows,
            rows_changed = rows_changed + (SELECT count(*) FROM changed)
        FROM edge WHERE name = :name AND cursor = :after AND finished_at IS NULL RETURNING {COLUMNS}
    """  # noqa: S608
