"""A long history in Prefect's database: copies of one executed run, with its state and its steps."""

from __future__ import annotations

import psycopg

EVERY_S = 45  # so that ten thousand runs fit into the seven days that the admin service lists
RUNS = """
CREATE TEMP TABLE made AS SELECT number, gen_random_uuid() AS id, gen_random_uuid() AS state_id,
    make_interval(secs => {every} * number + 600) AS ago FROM generate_series(1, %(count)s) AS number;
INSERT INTO flow_run SELECT (jsonb_populate_record(r, jsonb_build_object('id', made.id, 'state_id', NULL,
    'idempotency_key', NULL, 'created', r.created - ago, 'updated', r.updated - ago,
    'expected_start_time', r.expected_start_time - ago, 'start_time', r.start_time - ago,
    'end_time', r.end_time - ago, 'state_timestamp', r.state_timestamp - ago))).*
    FROM flow_run AS r, made WHERE r.id = %(run)s;
INSERT INTO flow_run_state SELECT (jsonb_populate_record(s, jsonb_build_object('id', made.state_id,
    'flow_run_id', made.id, 'created', s.created - ago, 'updated', s.updated - ago, 'timestamp', s.timestamp - ago))).*
    FROM flow_run AS r JOIN flow_run_state AS s ON s.id = r.state_id, made WHERE r.id = %(run)s;
UPDATE flow_run SET state_id = made.state_id FROM made WHERE flow_run.id = made.id;
INSERT INTO task_run SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(), 'state_id', NULL,
    'flow_run_id', made.id, 'created', t.created - ago, 'updated', t.updated - ago,
    'expected_start_time', t.expected_start_time - ago, 'start_time', t.start_time - ago,
    'end_time', t.end_time - ago))).* FROM task_run AS t, made WHERE t.flow_run_id = %(run)s
"""


def make_history(url: str, run_id: str, count: int) -> list[str]:
    """Create `count` copies of a run, each a little older. Return their ids, the newest first."""
    with psycopg.connect(url, autocommit=True) as database:
        cursor = psycopg.ClientCursor(database)
        cursor.execute(RUNS.format(every=EVERY_S).encode(), {"count": count, "run": run_id})
        rows = database.execute("SELECT id FROM made ORDER BY number").fetchall()
        database.execute("VACUUM ANALYZE")
    return [str(row[0]) for row in rows]
