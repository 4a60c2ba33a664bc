-- All statements of the store, by name; the same names as in sqlite/queries.sql.
-- `:cluster` is the cluster, `:name` a value, `:ids` a list, and `:rows` a derived table with one
-- row per change and the columns of dagengine/store/changes.py. Of several statements, the last one
-- is guarded: it must change one row of the table per row in `:rows`.

-- name: check_lock_token
-- Check that the DAG's lock token (0 for no lock) is still the one that the batch was based on.
SELECT COUNT(*) FROM dag t JOIN (:rows) v
ON t.cluster = :cluster AND t.dag_id = v.dag_id AND t.lock_token = v.lock_token;

-- name: insert_dag
INSERT INTO dag (cluster, dag_id, name, version, params, targets, stage, max_stage, state, operator, lock_key, lock_token, created_at, start_at, end_at, last_lock_token, lock_successor_id)
SELECT :cluster, v.dag_id, v.name, v.version, v.params, v.targets, v.stage, v.max_stage, v.state, v.operator, v.lock_key, v.lock_token, v.created_at, v.start_at, v.end_at, v.last_lock_token, v.lock_successor_id FROM (:rows) v;

-- name: update_dag
-- Guarded by state, operator and lock_token.
UPDATE dag t JOIN (:rows) v
ON t.cluster = :cluster AND t.dag_id = v.before_id AND t.state = v.before_state AND t.operator = v.before_operator AND t.lock_token = v.before_lock_token
SET t.stage = v.stage, t.state = v.state, t.operator = v.operator, t.lock_token = v.lock_token, t.start_at = v.start_at, t.end_at = v.end_at, t.last_lock_token = v.last_lock_token, t.lock_successor_id = v.lock_successor_id;

-- name: insert_node
INSERT INTO node (cluster, node_id, dag_id, stage, name, kind, flags, state, operator, start_at, end_at)
SELECT :cluster, v.node_id, v.dag_id, v.stage, v.name, v.kind, v.flags, v.state, v.operator, v.start_at, v.end_at FROM (:rows) v;

-- name: update_node
-- Guarded by state and operator.
UPDATE node t JOIN (:rows) v
ON t.cluster = :cluster AND t.node_id = v.before_id AND t.state = v.before_state AND t.operator = v.before_operator
SET t.state = v.state, t.operator = v.operator, t.start_at = v.start_at, t.end_at = v.end_at;

-- name: insert_sub_task
INSERT INTO sub_task (cluster, sub_task_id, node_id, dag_id, stage, target, state, operator, attempt_no, execute_times, start_at, end_at, data, evidence, summary)
SELECT :cluster, v.sub_task_id, v.node_id, v.dag_id, v.stage, v.target, v.state, v.operator, v.attempt_no, v.execute_times, v.start_at, v.end_at, v.data, v.evidence, v.summary FROM (:rows) v;

-- name: update_sub_task
-- Guarded by state and attempt.
UPDATE sub_task t JOIN (:rows) v
ON t.cluster = :cluster AND t.sub_task_id = v.before_id AND t.state = v.before_state AND t.attempt_no = v.before_attempt_no
SET t.state = v.state, t.operator = v.operator, t.attempt_no = v.attempt_no, t.execute_times = v.execute_times, t.start_at = v.start_at, t.end_at = v.end_at, t.data = v.data, t.evidence = v.evidence, t.summary = v.summary;

-- name: insert_attempt
-- Runs when an attempt ends. Guarded: the attempt must not have a row yet.
INSERT INTO attempt (cluster, sub_task_id, attempt_no, outcome, error, start_at, end_at)
SELECT :cluster, v.sub_task_id, v.attempt_no, v.outcome, v.error, v.start_at, v.end_at FROM (:rows) v
WHERE NOT EXISTS (SELECT 1 FROM attempt t WHERE t.cluster = :cluster AND t.sub_task_id = v.sub_task_id AND t.attempt_no = v.attempt_no);

-- name: insert_log
-- Guarded: the attempt must be the current one. `seq` is the number of the DAG's next event.
INSERT INTO log (cluster, log_id, sub_task_id, attempt_no, execute_times, content, created_at, dag_id, seq)
SELECT :cluster, v.log_id, t.sub_task_id, t.attempt_no, t.execute_times, v.content, v.created_at, t.dag_id, v.seq
FROM (:rows) v JOIN sub_task t
ON t.cluster = :cluster AND t.sub_task_id = v.sub_task_id AND t.attempt_no = v.attempt_no AND t.dag_id = v.dag_id;

-- name: insert_event
INSERT INTO event (cluster, dag_id, last_seq, at, entries)
SELECT :cluster, v.dag_id, v.last_seq, v.at, v.entries FROM (:rows) v;

-- name: list_events
SELECT last_seq, at, entries FROM event WHERE cluster = :cluster AND dag_id = :dag_id AND last_seq > :after ORDER BY last_seq LIMIT :limit;

-- name: list_lines_after
SELECT * FROM log WHERE cluster = :cluster AND dag_id = :dag_id AND seq > :after ORDER BY seq LIMIT :limit;

-- name: last_event
SELECT GREATEST(
    COALESCE((SELECT MAX(last_seq) FROM event WHERE cluster = :cluster AND dag_id = :dag_id), 0),
    COALESCE((SELECT MAX(seq) FROM log WHERE cluster = :cluster AND dag_id = :dag_id), 0)
) AS last_seq;

-- name: take_lock
-- Guarded: the lock must be free and have the preceding token. A new lock begins free.
INSERT INTO `lock` (cluster, `key`, dag_id, token, reason, since_at)
SELECT :cluster, v.lock_key, NULL, v.token - 1, '', v.since_at FROM (:rows) v
WHERE NOT EXISTS (SELECT 1 FROM `lock` t WHERE t.cluster = :cluster AND t.`key` = v.lock_key);
UPDATE `lock` t JOIN (:rows) v
ON t.cluster = :cluster AND t.`key` = v.lock_key AND t.dag_id IS NULL AND t.token = v.token - 1
SET t.dag_id = v.dag_id, t.token = v.token, t.reason = v.reason, t.since_at = v.since_at;

-- name: release_lock
-- Guarded by owner and token.
UPDATE `lock` t JOIN (:rows) v
ON t.cluster = :cluster AND t.`key` = v.lock_key AND t.dag_id = v.dag_id AND t.token = v.token
SET t.dag_id = NULL, t.reason = '', t.since_at = v.since_at;

-- name: insert_audit
INSERT INTO audit (cluster, audit_id, at, dag_id, node_id, action, `by`, reason)
SELECT :cluster, v.audit_id, v.at, v.dag_id, v.node_id, v.action, v.actor, v.reason FROM (:rows) v;

-- name: list_audit
SELECT * FROM audit
WHERE cluster = :cluster AND (:dag_id IS NULL OR dag_id = :dag_id) AND (:before IS NULL OR audit_id < :before)
ORDER BY audit_id DESC LIMIT :limit;

-- name: search_dags
SELECT * FROM dag
WHERE cluster = :cluster AND (:before IS NULL OR dag_id < :before) AND (:state IS NULL OR state = :state) AND (:name IS NULL OR name = :name)
ORDER BY dag_id DESC LIMIT :limit;

-- name: count_dags
SELECT state, COUNT(*) AS dags FROM dag WHERE cluster = :cluster GROUP BY state;

-- name: probe
DELETE FROM cluster_meta WHERE cluster = :cluster AND name = 'probed_at';
INSERT INTO cluster_meta (cluster, name, value) VALUES (:cluster, 'probed_at', :value);

-- name: list_dag_attempts
SELECT attempt.sub_task_id, attempt.attempt_no, outcome, error, attempt.start_at, attempt.end_at FROM attempt
JOIN sub_task ON sub_task.cluster = attempt.cluster AND sub_task.sub_task_id = attempt.sub_task_id
WHERE sub_task.cluster = :cluster AND sub_task.dag_id = :dag_id
UNION ALL
SELECT sub_task_id, attempt_no, NULL, NULL, start_at, start_at FROM sub_task
WHERE cluster = :cluster AND dag_id = :dag_id AND state = 'RUNNING'
ORDER BY sub_task_id, attempt_no;

-- name: list_attempts
-- A running attempt has no row in table attempt yet, so it is read from its sub-task.
SELECT sub_task_id, attempt_no, outcome, error, start_at, end_at FROM attempt
WHERE cluster = :cluster AND sub_task_id = :sub_task_id
UNION ALL
SELECT sub_task_id, attempt_no, NULL, NULL, start_at, start_at FROM sub_task
WHERE cluster = :cluster AND sub_task_id = :sub_task_id AND state = 'RUNNING'
ORDER BY attempt_no;

-- name: mark_unconfirmed
DELETE t FROM unconfirmed_target t JOIN (:rows) v ON t.cluster = :cluster AND t.target = v.target;
INSERT INTO unconfirmed_target (cluster, target, dag_id, stage, since_at)
SELECT :cluster, v.target, v.dag_id, v.stage, v.since_at FROM (:rows) v;

-- name: mark_confirmed
-- Guarded by all values of the row, so that a newer row is kept.
DELETE t FROM unconfirmed_target t JOIN (:rows) v
ON t.cluster = :cluster AND t.target = v.target AND t.dag_id = v.dag_id AND t.stage = v.stage AND t.since_at = v.since_at;

-- name: list_unconfirmed
SELECT * FROM unconfirmed_target WHERE cluster = :cluster ORDER BY target;

-- name: insert_reserved
-- Not guarded: a digest that is stored already keeps its expiry.
INSERT INTO reserved_request (cluster, digest, until_at)
SELECT :cluster, v.digest, v.until_at FROM (:rows) v
WHERE NOT EXISTS (SELECT 1 FROM reserved_request t WHERE t.cluster = :cluster AND t.digest = v.digest);

-- name: drop_reserved
-- Not guarded.
DELETE t FROM reserved_request t JOIN (:rows) v ON t.cluster = :cluster AND t.until_at < v.until_at;

-- name: list_reserved
SELECT * FROM reserved_request WHERE cluster = :cluster;

-- name: pin_meta
-- Not guarded.
INSERT INTO cluster_meta (cluster, name, value)
SELECT :cluster, v.name, v.value FROM (SELECT :name AS name, :value AS value) v
WHERE NOT EXISTS (SELECT 1 FROM cluster_meta t WHERE t.cluster = :cluster AND t.name = v.name);

-- name: find_meta
SELECT value FROM cluster_meta WHERE cluster = :cluster AND name = :name;

-- name: load_identity
SELECT LOWER(HEX(store_id)) AS store_id, epoch FROM cluster WHERE name = :cluster;

-- name: update_epoch
UPDATE cluster SET epoch = GREATEST(epoch + 1, :epoch), commit_no = commit_no + 1 WHERE name = :cluster;

-- name: last_lock_token
SELECT COALESCE(MAX(token), 0) AS token FROM `lock` WHERE cluster = :cluster;

-- name: find_dag
SELECT * FROM dag WHERE cluster = :cluster AND dag_id = :dag_id;

-- name: list_unfinished
SELECT * FROM dag WHERE cluster = :cluster AND state IN ('READY', 'RUNNING') ORDER BY dag_id;

-- name: list_unfinished_nodes
SELECT node.* FROM node JOIN dag ON dag.cluster = node.cluster AND dag.dag_id = node.dag_id
WHERE dag.cluster = :cluster AND dag.state IN ('READY', 'RUNNING') ORDER BY node.dag_id, node.stage;

-- name: list_unfinished_sub_tasks
SELECT sub_task.* FROM sub_task JOIN dag ON dag.cluster = sub_task.cluster AND dag.dag_id = sub_task.dag_id
WHERE dag.cluster = :cluster AND dag.state IN ('READY', 'RUNNING') ORDER BY sub_task.sub_task_id;

-- name: list_newest
SELECT * FROM dag WHERE cluster = :cluster ORDER BY dag_id DESC LIMIT :limit;

-- name: list_newest_unfinished
SELECT * FROM dag WHERE cluster = :cluster AND state IN ('READY', 'RUNNING') ORDER BY dag_id DESC LIMIT :limit;

-- name: list_nodes
SELECT * FROM node WHERE cluster = :cluster AND dag_id = :dag_id ORDER BY stage;

-- name: find_dags
SELECT * FROM dag WHERE cluster = :cluster AND dag_id IN (:ids);

-- name: list_nodes_of_dags
SELECT * FROM node WHERE cluster = :cluster AND dag_id IN (:ids) ORDER BY dag_id, stage;

-- name: list_sub_tasks_of_dags
SELECT * FROM sub_task WHERE cluster = :cluster AND dag_id IN (:ids) ORDER BY sub_task_id;

-- name: list_logs_of_dags
SELECT * FROM log WHERE cluster = :cluster AND dag_id IN (:ids) ORDER BY dag_id, seq;

-- name: find_node
SELECT * FROM node WHERE cluster = :cluster AND node_id = :node_id;

-- name: list_sub_tasks
SELECT * FROM sub_task WHERE cluster = :cluster AND dag_id = :dag_id ORDER BY sub_task_id;

-- name: list_sub_tasks_of_node
SELECT * FROM sub_task WHERE cluster = :cluster AND node_id = :node_id ORDER BY sub_task_id;

-- name: find_sub_task
SELECT * FROM sub_task WHERE cluster = :cluster AND sub_task_id = :sub_task_id;

-- name: list_logs
SELECT * FROM log WHERE cluster = :cluster AND sub_task_id = :sub_task_id ORDER BY log_id;

-- name: list_logs_of_node
SELECT log.* FROM log JOIN sub_task ON sub_task.cluster = log.cluster AND sub_task.sub_task_id = log.sub_task_id
WHERE sub_task.cluster = :cluster AND sub_task.node_id = :node_id ORDER BY log.log_id;

-- name: list_logs_of_dag
SELECT * FROM log WHERE cluster = :cluster AND dag_id = :dag_id ORDER BY seq;

-- name: list_locks
SELECT * FROM `lock` WHERE cluster = :cluster ORDER BY `key`;

-- name: find_prunable
-- Select a finished DAG, except the newest, that ended before :before or is beyond the newest :count DAGs.
SELECT dag_id FROM dag
WHERE cluster = :cluster AND state IN ('FAILED', 'SUCCEED')
    AND dag_id < (SELECT MAX(dag_id) FROM dag WHERE cluster = :cluster)
    AND (end_at < :before OR dag_id <= (SELECT dag_id FROM dag WHERE cluster = :cluster ORDER BY dag_id DESC LIMIT 1 OFFSET :count))
ORDER BY dag_id LIMIT 1;

-- name: prune_logs
DELETE FROM log WHERE cluster = :cluster AND dag_id = :dag_id LIMIT :limit;

-- name: insert_idempotency_key
-- Guarded: the key must be new.
INSERT INTO idempotency_key (cluster, `key`, digest, dag_id)
SELECT :cluster, v.key_text, v.digest, v.dag_id FROM (:rows) v
WHERE NOT EXISTS (SELECT 1 FROM idempotency_key t WHERE t.cluster = :cluster AND t.`key` = v.key_text);

-- name: find_idempotency_key
SELECT digest, dag_id FROM idempotency_key WHERE cluster = :cluster AND `key` = :key_text;

-- name: prune_idempotency_keys
DELETE FROM idempotency_key WHERE cluster = :cluster AND dag_id = :dag_id;

-- name: prune_events
DELETE FROM event WHERE cluster = :cluster AND dag_id = :dag_id;

-- name: prune_attempts
DELETE FROM attempt WHERE cluster = :cluster AND sub_task_id IN (SELECT sub_task_id FROM sub_task WHERE cluster = :cluster AND dag_id = :dag_id);

-- name: prune_sub_tasks
DELETE FROM sub_task WHERE cluster = :cluster AND dag_id = :dag_id;

-- name: prune_nodes
DELETE FROM node WHERE cluster = :cluster AND dag_id = :dag_id;

-- name: prune_dag
DELETE FROM dag WHERE cluster = :cluster AND dag_id = :dag_id;

-- name: last_ids
SELECT
    COALESCE(MAX(IF(kind = 'dag', next - 1, 0)), 0) AS dag_id,
    COALESCE(MAX(IF(kind = 'node', next - 1, 0)), 0) AS node_id,
    COALESCE(MAX(IF(kind = 'sub_task', next - 1, 0)), 0) AS sub_task_id
FROM id_seq WHERE cluster = :cluster;

-- name: take_audit_id
-- For the audit of the service, which every controller writes; the id is the result's last_insert_id.
UPDATE id_seq SET next = last_insert_id(next) + 1 WHERE cluster = :cluster AND kind = 'audit';

-- name: insert_audit_ids
INSERT INTO id_seq (cluster, kind, next)
SELECT :cluster, 'audit', COALESCE(MAX(audit_id), 0) + 1 FROM audit WHERE cluster = :cluster;

-- name: insert_token
INSERT INTO token (cluster, name, digest, access, clusters, created_by, created_at, expires_at, last_used_at)
SELECT :cluster, v.name, v.digest, v.access, v.clusters, v.created_by, v.created_at, v.expires_at, v.last_used_at FROM (:rows) v
WHERE NOT EXISTS (SELECT 1 FROM token t WHERE t.cluster = :cluster AND t.name = v.name);

-- name: find_token
SELECT * FROM token WHERE cluster = :cluster AND digest = :digest;

-- name: list_tokens
SELECT * FROM token WHERE cluster = :cluster ORDER BY name;

-- name: delete_token
-- Its sessions are deleted with it. The lock on its row excludes a concurrent insert_session.
BEGIN;
SELECT digest FROM token WHERE cluster = :cluster AND name = :name FOR UPDATE;
DELETE s FROM session s JOIN token t ON s.cluster = t.cluster AND s.token = t.digest WHERE t.cluster = :cluster AND t.name = :name;
DELETE FROM token WHERE cluster = :cluster AND name = :name;
COMMIT;

-- name: touch_token
UPDATE token SET last_used_at = :at
WHERE cluster = :cluster AND digest = :digest AND (last_used_at IS NULL OR last_used_at < :at);

-- name: insert_session
-- Without effect if the session's token has been revoked.
BEGIN;
SELECT t.digest FROM token t JOIN (:rows) v ON t.cluster = :cluster AND t.digest = v.token FOR UPDATE;
INSERT INTO session (cluster, digest, entry, name, access, fingerprint, token, created_at, last_seen_at)
SELECT :cluster, v.digest, v.entry, v.name, v.access, v.fingerprint, v.token, v.created_at, v.last_seen_at FROM (:rows) v
WHERE v.token IS NULL OR EXISTS (SELECT 1 FROM token t WHERE t.cluster = :cluster AND t.digest = v.token);
COMMIT;

-- name: find_session
SELECT * FROM session WHERE cluster = :cluster AND digest = :digest;

-- name: touch_session
UPDATE session SET last_seen_at = :at WHERE cluster = :cluster AND digest = :digest AND last_seen_at < :at;

-- name: delete_session
DELETE FROM session WHERE cluster = :cluster AND digest = :digest;

-- name: delete_old_sessions
DELETE FROM session WHERE cluster = :cluster AND (created_at < :created_before OR last_seen_at < :seen_before);

-- name: delete_all_sessions
DELETE FROM session WHERE cluster = :cluster;
