-- The statements of membership.py. A name after a colon is a parameter: a literal, not text.

-- name: insert_meta
INSERT INTO meta (name, value) VALUES (:name, :value);

-- name: read_meta
SELECT value FROM meta WHERE name = :name;

-- name: next_controller_id
-- The id is the result's last_insert_id.
UPDATE id_seq SET next = last_insert_id(next) + 1 WHERE cluster = '' AND kind = 'controller';

-- name: insert_controller_ids
INSERT INTO id_seq (cluster, kind, next) VALUES ('', 'controller', 1);

-- name: lock_compatible_from
-- Orders joins and upgrades of the schema, see migrate.py.
SELECT value FROM meta WHERE name = 'compatible_from' FOR UPDATE;

-- name: insert_controller
-- Not inserted if an upgrade has excluded programs of this schema version.
INSERT INTO controller (controller_id, name, version, state, beat, started_at, seen_at, schema_version)
SELECT :controller_id, :name, :version, 'LIVE', 0, :now, :now, :schema_version FROM (SELECT 1) one
WHERE NOT EXISTS (SELECT 1 FROM meta WHERE meta.name = 'compatible_from' AND CAST(meta.value AS SIGNED) > :schema_version);

-- name: beat
UPDATE controller SET beat = beat + 1, seen_at = :now WHERE controller_id = :controller_id AND state = 'LIVE';

-- name: declare_dead
UPDATE controller SET state = 'DEAD' WHERE controller_id = :controller_id AND state = 'LIVE' AND beat = :beat;

-- name: leave
UPDATE controller SET state = 'LEFT' WHERE controller_id = :controller_id AND state = 'LIVE';

-- name: delete_announced
DELETE FROM controller_cluster WHERE controller_id = :controller_id;

-- name: insert_announced
INSERT INTO controller_cluster (controller_id, cluster, url, file_digest, ready)
VALUES (:controller_id, :cluster, :url, :file_digest, :ready);

-- name: insert_cluster
INSERT INTO cluster (name, cluster_id, flavour, advertise, store_id, owner, reserved_for, epoch, commit_no)
VALUES (:name, :cluster_id, :flavour, :advertise, :store_id, NULL, NULL, 0, 0);

-- name: read_pins
SELECT cluster_id, flavour, advertise FROM cluster WHERE name = :name;

-- name: complete_pins
-- A copied cluster: its id and flavour are in the cluster file, which the copy does not read.
UPDATE cluster SET cluster_id = :cluster_id, flavour = :flavour, advertise = IF(advertise = '', :advertise, advertise)
WHERE name = :name AND cluster_id = 0 AND flavour = '';

-- name: read_clusters
SELECT name, cluster_id, flavour, advertise, store_id, owner, reserved_for, epoch, commit_no FROM cluster;

-- name: read_announced
SELECT controller_id, cluster, url, file_digest, ready FROM controller_cluster;

-- name: read_controllers
SELECT controller_id, name, version, state, beat, started_at, seen_at FROM controller;

-- name: take_over
UPDATE cluster SET owner = :controller_id, epoch = epoch + 1, commit_no = commit_no + 1, reserved_for = NULL
WHERE name = :name AND owner <=> :owner AND epoch = :epoch;

-- name: read_owner
SELECT owner, epoch, commit_no FROM cluster WHERE name = :name;

-- name: give_away
UPDATE cluster SET owner = NULL, reserved_for = :reserved_for, commit_no = commit_no + 1
WHERE name = :name AND owner = :owner AND epoch = :epoch;

-- name: delete_controller
-- The row of an owner is kept: without it, the owner would count as one that has just joined.
DELETE FROM controller WHERE controller_id = :controller_id AND state <> 'LIVE'
AND NOT EXISTS (SELECT 1 FROM cluster WHERE cluster.owner = :controller_id OR cluster.reserved_for = :controller_id);

-- name: delete_orphans
DELETE FROM controller_cluster WHERE controller_id = :controller_id
AND NOT EXISTS (SELECT 1 FROM controller WHERE controller.controller_id = :controller_id);

-- name: lock_cluster
SELECT epoch FROM cluster WHERE name = :name FOR UPDATE;

-- name: count_unfinished
SELECT count(*) FROM dag WHERE cluster = :name AND state IN ('READY', 'RUNNING');

-- name: find_servers
SELECT controller.name FROM controller_cluster
JOIN controller ON controller.controller_id = controller_cluster.controller_id
WHERE controller_cluster.cluster = :name AND controller.state = 'LIVE';

-- name: delete_cluster
DELETE FROM cluster WHERE name = :name;
