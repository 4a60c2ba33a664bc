-- All statements, by name. A guarded write must change exactly one row.

-- name: check_lock_token
-- Check that the DAG's lock token (0 for no lock) is still the one that the batch was based on.
SELECT 1 FROM dag WHERE dag_id = ? AND lock_token = ?;

-- name: insert_dag
INSERT INTO dag (dag_id, name, version, params, targets, stage, max_stage, state, operator, lock_key, lock_token, created_at, start_at, end_at, last_lock_token, lock_successor_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_dag
-- Guarded by state, operator and lock_token.
UPDATE dag SET stage = ?, state = ?, operator = ?, lock_token = ?, start_at = ?, end_at = ?, last_lock_token = ?, lock_successor_id = ?
WHERE dag_id = ? AND state = ? AND operator = ? AND lock_token = ?;

-- name: insert_node
INSERT INTO node (node_id, dag_id, stage, name, kind, flags, state, operator, start_at, end_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_node
-- Guarded by state and operator.
UPDATE node SET state = ?, operator = ?, start_at = ?, end_at = ?
WHERE node_id = ? AND state = ? AND operator = ?;

-- name: insert_sub_task
INSERT INTO sub_task (sub_task_id, node_id, dag_id, stage, target, state, operator, attempt_no, execute_times, start_at, end_at, data, evidence, summary)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_sub_task
-- Guarded by state and attempt.
UPDATE sub_task SET state = ?, operator = ?, attempt_no = ?, execute_times = ?, start_at = ?, end_at = ?, data = ?, evidence = ?, summary = ?
WHERE sub_task_id = ? AND state = ? AND attempt_no = ?;

-- name: insert_attempt
-- Runs when an attempt ends. Guarded: the attempt must not have a row yet.
INSERT INTO attempt (sub_task_id, attempt_no, outcome, error, start_at, end_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: insert_log
-- Guarded: the attempt must be the current one. The line gets the number of the DAG's next event.
INSERT INTO log (sub_task_id, attempt_no, execute_times, content, created_at, dag_id, seq)
SELECT sub_task_id, attempt_no, execute_times, ?, ?, dag_id, 1 + MAX(
    COALESCE((SELECT MAX(last_seq) FROM event WHERE event.dag_id = sub_task.dag_id), 0),
    COALESCE((SELECT MAX(seq) FROM log WHERE log.dag_id = sub_task.dag_id), 0)
)
FROM sub_task WHERE sub_task_id = ? AND attempt_no = ?;

-- name: insert_event
-- Insert ?2 entries, which get the numbers of the DAG's next events.
INSERT INTO event (dag_id, last_seq, at, entries)
VALUES (?1, ?2 + MAX(
    COALESCE((SELECT MAX(last_seq) FROM event WHERE dag_id = ?1), 0),
    COALESCE((SELECT MAX(seq) FROM log WHERE dag_id = ?1), 0)
), ?3, ?4);

-- name: list_events
SELECT last_seq, at, entries FROM event WHERE dag_id = ? AND last_seq > ? ORDER BY last_seq LIMIT ?;

-- name: list_lines_after
SELECT * FROM log WHERE dag_id = ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: last_event
SELECT MAX(
    COALESCE((SELECT MAX(last_seq) FROM event WHERE dag_id = ?1), 0),
    COALESCE((SELECT MAX(seq) FROM log WHERE dag_id = ?1), 0)
);

-- name: take_lock
-- Guarded: the lock must be free and have the preceding token.
INSERT INTO lock (key, dag_id, token, reason, since_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (key) DO UPDATE SET dag_id = ?2, token = ?3, reason = ?4, since_at = ?5
WHERE lock.dag_id IS NULL AND lock.token = ?3 - 1;

-- name: release_lock
-- Guarded by owner and token.
UPDATE lock SET dag_id = NULL, reason = '', since_at = ? WHERE key = ? AND dag_id = ? AND token = ?;

-- name: insert_audit
INSERT INTO audit (at, dag_id, node_id, action, by, reason) VALUES (?, ?, ?, ?, ?, ?);

-- name: list_audit
SELECT * FROM audit WHERE (?1 IS NULL OR dag_id = ?1) AND (?3 IS NULL OR audit_id < ?3)
ORDER BY audit_id DESC LIMIT ?2;

-- name: search_dags
SELECT * FROM dag
WHERE (?1 IS NULL OR dag_id < ?1) AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR name = ?3)
ORDER BY dag_id DESC LIMIT ?4;

-- name: count_dags
SELECT state, COUNT(*) AS dags FROM dag GROUP BY state;

-- name: probe
INSERT INTO meta (key, value) VALUES ('probed_at', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: list_attempts
-- A running attempt has no row in table attempt yet, so it is read from its sub-task.
SELECT * FROM attempt WHERE sub_task_id = ?1
UNION ALL
SELECT sub_task_id, attempt_no, NULL, NULL, start_at, start_at FROM sub_task
WHERE sub_task_id = ?1 AND state = 'RUNNING'
ORDER BY attempt_no;

-- name: list_dag_attempts
SELECT attempt.* FROM attempt JOIN sub_task USING (sub_task_id) WHERE sub_task.dag_id = ?1
UNION ALL
SELECT sub_task_id, attempt_no, NULL, NULL, start_at, start_at FROM sub_task
WHERE dag_id = ?1 AND state = 'RUNNING'
ORDER BY sub_task_id, attempt_no;

-- name: mark_unconfirmed
INSERT INTO unconfirmed_target (target, dag_id, stage, since_at) VALUES (?, ?, ?, ?)
ON CONFLICT (target) DO UPDATE SET dag_id = excluded.dag_id, stage = excluded.stage, since_at = excluded.since_at;

-- name: mark_confirmed
-- Guarded by all values of the row, so that a newer row is kept.
DELETE FROM unconfirmed_target WHERE target = ? AND dag_id = ? AND stage = ? AND since_at = ?;

-- name: list_unconfirmed
SELECT * FROM unconfirmed_target ORDER BY target;

-- name: insert_reserved
INSERT INTO reserved_request (digest, until_at) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- name: drop_reserved
DELETE FROM reserved_request WHERE until_at < ?;

-- name: list_reserved
SELECT * FROM reserved_request;

-- name: pin_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING;

-- name: find_meta
SELECT value FROM meta WHERE key = ?;

-- name: load_identity
SELECT
    (SELECT value FROM meta WHERE key = 'store_id'),
    (SELECT value FROM meta WHERE key = 'epoch');

-- name: update_epoch
UPDATE meta SET value = ? WHERE key = 'epoch';

-- name: last_lock_token
SELECT COALESCE(MAX(token), 0) FROM lock;

-- name: find_dag
SELECT * FROM dag WHERE dag_id = ?;

-- name: list_unfinished
SELECT * FROM dag WHERE (state = 'READY' OR state = 'RUNNING') ORDER BY dag_id LIMIT ?;

-- name: list_unfinished_nodes
SELECT node.* FROM node JOIN dag USING (dag_id)
WHERE (dag.state = 'READY' OR dag.state = 'RUNNING') ORDER BY node.dag_id, node.stage;

-- name: list_unfinished_sub_tasks
SELECT sub_task.* FROM sub_task JOIN dag USING (dag_id)
WHERE (dag.state = 'READY' OR dag.state = 'RUNNING') ORDER BY sub_task.sub_task_id;

-- name: list_newest
SELECT * FROM dag ORDER BY dag_id DESC LIMIT ?;

-- name: list_newest_unfinished
SELECT * FROM dag WHERE (state = 'READY' OR state = 'RUNNING') ORDER BY dag_id DESC LIMIT ?;

-- name: list_nodes
SELECT * FROM node WHERE dag_id = ? ORDER BY stage;

-- name: find_dags
SELECT * FROM dag WHERE dag_id IN (SELECT value FROM json_each(?));

-- name: list_nodes_of_dags
SELECT * FROM node WHERE dag_id IN (SELECT value FROM json_each(?)) ORDER BY dag_id, stage;

-- name: list_sub_tasks_of_dags
SELECT * FROM sub_task WHERE dag_id IN (SELECT value FROM json_each(?)) ORDER BY sub_task_id;

-- name: list_logs_of_dags
SELECT * FROM log WHERE dag_id IN (SELECT value FROM json_each(?)) ORDER BY dag_id, seq;

-- name: find_node
SELECT * FROM node WHERE node_id = ?;

-- name: list_sub_tasks
SELECT * FROM sub_task WHERE dag_id = ? ORDER BY sub_task_id;

-- name: list_sub_tasks_of_node
SELECT * FROM sub_task WHERE node_id = ? ORDER BY sub_task_id;

-- name: find_sub_task
SELECT * FROM sub_task WHERE sub_task_id = ?;

-- name: list_logs
SELECT * FROM log WHERE sub_task_id = ? ORDER BY log_id;

-- name: list_logs_of_node
SELECT log.* FROM log JOIN sub_task USING (sub_task_id) WHERE sub_task.node_id = ? ORDER BY log.log_id;

-- name: list_logs_of_dag
SELECT * FROM log WHERE dag_id = ? ORDER BY seq;

-- name: list_locks
SELECT * FROM lock ORDER BY key;

-- name: find_prunable
-- Select a finished DAG, except the newest, that ended before ?1 or is beyond the newest ?2 DAGs.
SELECT dag_id FROM dag
WHERE state IN ('FAILED', 'SUCCEED') AND dag_id < (SELECT MAX(dag_id) FROM dag)
    AND (end_at < ?1 OR dag_id <= (SELECT dag_id FROM dag ORDER BY dag_id DESC LIMIT 1 OFFSET ?2))
ORDER BY dag_id LIMIT 1;

-- name: prune_logs
DELETE FROM log WHERE log_id IN (SELECT log_id FROM log WHERE dag_id = ? LIMIT ?);

-- name: insert_idempotency_key
-- Guarded: the key must be new.
INSERT INTO idempotency_key (key, digest, dag_id) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING;

-- name: find_idempotency_key
SELECT digest, dag_id FROM idempotency_key WHERE key = ?;

-- name: prune_idempotency_keys
DELETE FROM idempotency_key WHERE dag_id = ?;

-- name: prune_events
DELETE FROM event WHERE dag_id = ?;

-- name: prune_attempts
DELETE FROM attempt WHERE sub_task_id IN (SELECT sub_task_id FROM sub_task WHERE dag_id = ?);

-- name: prune_sub_tasks
DELETE FROM sub_task WHERE dag_id = ?;

-- name: prune_nodes
DELETE FROM node WHERE dag_id = ?;

-- name: prune_dag
DELETE FROM dag WHERE dag_id = ?;

-- name: last_ids
SELECT
    (SELECT COALESCE(MAX(dag_id), 0) FROM dag),
    (SELECT COALESCE(MAX(node_id), 0) FROM node),
    (SELECT COALESCE(MAX(sub_task_id), 0) FROM sub_task);

-- name: insert_token
INSERT INTO token (name, digest, access, clusters, created_by, created_at, expires_at, last_used_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING;

-- name: find_token
SELECT * FROM token WHERE digest = ?;

-- name: list_tokens
SELECT * FROM token ORDER BY name;

-- name: delete_token
-- Its sessions are deleted with it.
DELETE FROM token WHERE name = ?;

-- name: touch_token
UPDATE token SET last_used_at = ?1
WHERE digest = ?2 AND (last_used_at IS NULL OR last_used_at < ?1);

-- name: insert_session
-- Without effect if the session's token has been revoked.
INSERT INTO session (digest, entry, name, access, fingerprint, token, created_at, last_seen_at)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE ?6 IS NULL OR EXISTS (SELECT 1 FROM token WHERE digest = ?6);

-- name: find_session
SELECT * FROM session WHERE digest = ?;

-- name: touch_session
UPDATE session SET last_seen_at = ?1 WHERE digest = ?2 AND last_seen_at < ?1;

-- name: delete_session
DELETE FROM session WHERE digest = ?;

-- name: delete_old_sessions
DELETE FROM session WHERE created_at < ?1 OR last_seen_at < ?2;

-- name: delete_all_sessions
DELETE FROM session;
