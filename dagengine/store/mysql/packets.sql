-- Statements around those of queries.sql, which SQLite does not need.

-- name: begin_packet
-- The first statement locks the cluster's row, so that no other controller takes the cluster.
-- `@bad` is the number of the first statement whose guard does not hold: 0 for none, -1 for this one.
BEGIN;
UPDATE cluster SET commit_no = :next WHERE name = :cluster AND owner = :owner AND epoch = :epoch AND commit_no = :commit_no;
SET @bad = IF(ROW_COUNT() = 1, 0, -1);

-- name: check_rows
SET @bad = IF(@bad = 0 AND ROW_COUNT() <> :expected, :number, @bad);

-- name: check_count
SET @bad = IF(@bad = 0 AND (:count) <> :expected, :number, @bad);

-- name: end_packet
-- A guard that does not hold becomes error 1048, because `next` is NOT NULL. It does not depend on
-- the cluster's row, which may have been deleted.
INSERT INTO id_seq (cluster, kind, next) SELECT :cluster, 'guard', NULL FROM DUAL WHERE @bad <> 0;
COMMIT;

-- name: refuse_packet
ROLLBACK;
SELECT @bad AS bad;

-- name: find_commit
-- On a new connection FOR UPDATE waits until the transaction with the unknown result has ended.
SELECT owner, epoch, commit_no FROM cluster WHERE name = :cluster FOR UPDATE;

-- name: ensure_sequences
INSERT INTO id_seq (cluster, kind, next)
SELECT :cluster, v.kind, 1 FROM (
    SELECT 'dag' AS kind UNION ALL SELECT 'node' UNION ALL SELECT 'sub_task' UNION ALL SELECT 'log' UNION ALL SELECT 'audit'
) v
WHERE NOT EXISTS (SELECT 1 FROM id_seq t WHERE t.cluster = :cluster AND t.kind = v.kind);

-- name: list_sequences
SELECT kind, next FROM id_seq WHERE cluster = :cluster;

-- name: advance_sequences
UPDATE id_seq SET next = GREATEST(next, CASE kind WHEN 'dag' THEN :dag WHEN 'node' THEN :node WHEN 'sub_task' THEN :sub_task WHEN 'log' THEN :log WHEN 'audit' THEN :audit ELSE 0 END)
WHERE cluster = :cluster AND kind IN ('dag', 'node', 'sub_task', 'log', 'audit');

-- name: last_events
SELECT dag_id, GREATEST(
    COALESCE((SELECT MAX(last_seq) FROM event WHERE event.cluster = :cluster AND event.dag_id = dag.dag_id), 0),
    COALESCE((SELECT MAX(seq) FROM log WHERE log.cluster = :cluster AND log.dag_id = dag.dag_id), 0)
) AS last_seq
FROM dag WHERE cluster = :cluster AND dag_id IN (:ids);

-- name: dags_of_sub_tasks
SELECT sub_task_id, dag_id FROM sub_task WHERE cluster = :cluster AND sub_task_id IN (:ids);

-- name: create_cluster
INSERT INTO cluster (name, cluster_id, flavour, advertise, store_id, owner, reserved_for, epoch, commit_no)
VALUES (:cluster, :cluster_id, :flavour, :advertise, :store_id, NULL, NULL, :epoch, 0);

-- name: find_meta_value
SELECT value FROM meta WHERE name = :name;

-- name: add_meta_value
INSERT IGNORE INTO meta (name, value) VALUES (:name, :value);

-- name: put_meta_value
INSERT INTO meta (name, value) VALUES (:name, :value) ON DUPLICATE KEY UPDATE value = VALUES(value);

-- name: read_schema_state
SELECT name, value FROM meta WHERE name IN ('schema_version', 'compatible_from', 'contracted');

-- name: find_older_controllers
SELECT name, schema_version FROM controller
WHERE state = 'LIVE' AND schema_version < :lowest ORDER BY controller_id;

-- name: lock_meta_value
SELECT value FROM meta WHERE name = :name FOR UPDATE;

-- name: show_cluster
SHOW PARAMETERS LIKE 'cluster%';

-- name: show_created
SHOW PARAMETERS LIKE 'server_create_time';

-- name: count_live_controllers
SELECT COUNT(*) FROM controller WHERE state = 'LIVE';

-- name: list_clusters
SELECT name FROM cluster ORDER BY name;

-- name: find_cluster
SELECT advertise, LOWER(HEX(store_id)), epoch FROM cluster WHERE name = :cluster;

-- name: list_beats
SELECT controller_id, beat FROM controller WHERE state = 'LIVE' ORDER BY controller_id;

-- name: renew_epoch
-- Without an owner, no former commit can pass its guard.
UPDATE cluster SET epoch = GREATEST(epoch + 1, :at_least), commit_no = commit_no + 1, owner = NULL, reserved_for = NULL
WHERE name = :cluster;

-- name: delete_copied
-- Removes up to :limit rows of an interrupted copy from one table.
DELETE FROM :table WHERE cluster = :cluster LIMIT :limit;

-- name: insert_copied
INSERT INTO :table (cluster, :columns) SELECT :cluster, :columns FROM (:rows) v;

-- name: read_copied
SELECT :columns FROM :table WHERE cluster = :cluster AND (:ids) > (:after) ORDER BY :ids LIMIT :limit;

-- name: read_first
SELECT :columns FROM :table WHERE cluster = :cluster ORDER BY :ids LIMIT :limit;

-- name: set_sequence
INSERT INTO id_seq (cluster, kind, next) VALUES (:cluster, :kind, :next);

-- name: list_cluster_meta
SELECT name, value FROM cluster_meta WHERE cluster = :cluster;
