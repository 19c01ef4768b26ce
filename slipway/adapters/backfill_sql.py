"""The tables of a backfill in the service's own database, and every statement on them."""

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
# Two sessions that create a table at once collide in the catalogue, IF NOT EXISTS or not.
ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('slipway: tables of a backfill', 0))")
COLUMNS = "digest, upper, cursor, total, total_is_exact, rows_passed, rows_changed, rows_skipped, finished_at"
LOOK = text(f"SELECT {COLUMNS} FROM slipway_backfill WHERE name = :name")  # noqa: S608
MOVE = text(f"""
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
MENDED = text("""
    UPDATE slipway_backfill SET rows_changed = rows_changed + :changed, rows_skipped = rows_skipped - 1
    WHERE name = :name
""")
LIMITS = text(f"SELECT {SET_LIMITS}")


def edge_query(edge: str) -> TextClause:
    """`edge` (which gives `last` and `rows`) and the limits in one round trip; they hold for what follows."""
    return text(
        f"WITH limits AS MATERIALIZED (SELECT {SET_LIMITS}), edge AS MATERIALIZED ({edge})"  # noqa: S608
        " SELECT edge.last, edge.rows FROM limits, edge"
    )
