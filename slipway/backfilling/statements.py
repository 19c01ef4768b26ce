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


def whole_batch(edge: str, change: str) -> str:
    """A batch in one statement: its edge, the change of the rows up to it, and the cursor.

    `edge` gives `last` and `rows`; `change` looks at `(SELECT last FROM edge)` and returns a row for each that it changed.
    The cursor's row is locked first. Where it is not where we found it, there is no edge and so nothing to change; the
    statement then answers with no row, as it does when the span has none left.
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
