-- Schema version 2. `dagengine store migrate` creates it; every statement may run again.
-- Change it together with a step in migrations/.
-- A text that the program does not limit is LONGTEXT. A text that is compared is VARBINARY, because
-- utf8mb4_bin ignores spaces at the end; JSON is LONGTEXT, because a JSON column changes the text.
-- Instants (`*_at`) are microseconds since 1970-01-01T00:00:00Z. States are spelled as on the wire.
-- There are no foreign keys: tests/integration/store find orphans instead.

-- Values of the whole store: schema_version, compatible_from, contracted (migrate.py), store_identity,
-- lease_s, rsa_fingerprint.
CREATE TABLE IF NOT EXISTS meta (
    name VARBINARY(64) NOT NULL,
    value LONGTEXT NOT NULL,
    PRIMARY KEY (name)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS controller (
    controller_id BIGINT NOT NULL, -- never reused
    name VARBINARY(255) NOT NULL,
    version VARBINARY(64) NOT NULL,
    state VARBINARY(8) NOT NULL, -- LIVE, DEAD or LEFT
    beat BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    schema_version BIGINT NOT NULL DEFAULT 1, -- of the controller's program
    PRIMARY KEY (controller_id)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- The clusters that a controller can serve.
CREATE TABLE IF NOT EXISTS controller_cluster (
    controller_id BIGINT NOT NULL,
    cluster VARBINARY(32) NOT NULL,
    url VARBINARY(512) NOT NULL,
    file_digest VARBINARY(64) NOT NULL,
    ready TINYINT NOT NULL, -- 1: the cluster file and the listener are usable
    PRIMARY KEY (controller_id, cluster)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- A commit is guarded by owner, epoch and commit_no.
CREATE TABLE IF NOT EXISTS cluster (
    name VARBINARY(32) NOT NULL,
    cluster_id BIGINT NOT NULL,
    flavour VARBINARY(32) NOT NULL,
    advertise VARBINARY(255) NOT NULL,
    store_id BINARY(16) NOT NULL,
    owner BIGINT,
    reserved_for BIGINT,
    epoch BIGINT NOT NULL,
    commit_no BIGINT NOT NULL, -- NOT NULL makes a packet fail whose guards do not hold
    PRIMARY KEY (name)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- Ids are numbered per cluster, those of controllers under the empty name.
CREATE TABLE IF NOT EXISTS id_seq (
    cluster VARBINARY(32) NOT NULL,
    kind VARBINARY(16) NOT NULL, -- dag, node, sub_task, log, audit; controller
    next BIGINT NOT NULL,
    PRIMARY KEY (cluster, kind)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- Values of one cluster: the table `meta` of a store in SQLite.
CREATE TABLE IF NOT EXISTS cluster_meta (
    cluster VARBINARY(32) NOT NULL,
    name VARBINARY(64) NOT NULL,
    value LONGTEXT NOT NULL,
    PRIMARY KEY (cluster, name)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS dag (
    cluster VARBINARY(32) NOT NULL,
    dag_id BIGINT NOT NULL,
    name VARBINARY(255) NOT NULL,
    version BIGINT NOT NULL,
    params LONGTEXT NOT NULL, -- JSON object
    targets LONGTEXT NOT NULL, -- JSON list of names
    stage BIGINT NOT NULL,
    max_stage BIGINT NOT NULL,
    state VARBINARY(16) NOT NULL,
    operator VARBINARY(16) NOT NULL,
    lock_key VARBINARY(255),
    lock_token BIGINT NOT NULL, -- of the lock that it holds, 0 for none
    created_at BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    last_lock_token BIGINT NOT NULL, -- of the lock that it held last, 0 for none
    lock_successor_id BIGINT, -- DAG that gets its lock when it ends (force pass)
    PRIMARY KEY (cluster, dag_id),
    KEY dag_of_state (cluster, state, dag_id)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS node (
    cluster VARBINARY(32) NOT NULL,
    node_id BIGINT NOT NULL,
    dag_id BIGINT NOT NULL,
    stage BIGINT NOT NULL,
    name LONGTEXT NOT NULL,
    kind VARBINARY(16) NOT NULL,
    flags BIGINT NOT NULL, -- bits: 1 cancel, 2 continue, 4 retry, 8 rollback, 16 pass
    state VARBINARY(16) NOT NULL,
    operator VARBINARY(16) NOT NULL,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    PRIMARY KEY (cluster, node_id),
    UNIQUE KEY node_of_dag (cluster, dag_id, stage)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sub_task (
    cluster VARBINARY(32) NOT NULL,
    sub_task_id BIGINT NOT NULL,
    node_id BIGINT NOT NULL,
    dag_id BIGINT NOT NULL,
    stage BIGINT NOT NULL,
    target LONGTEXT, -- the lane; NULL in a normal node
    state VARBINARY(16) NOT NULL,
    operator VARBINARY(16) NOT NULL,
    attempt_no BIGINT NOT NULL,
    execute_times BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    data LONGTEXT, -- JSON object for later stages
    evidence LONGTEXT, -- JSON object for people
    summary LONGTEXT NOT NULL,
    PRIMARY KEY (cluster, sub_task_id),
    KEY sub_task_of_dag (cluster, dag_id),
    KEY sub_task_of_node (cluster, node_id)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- Ended attempts; a running attempt is stored in its sub-task's row.
CREATE TABLE IF NOT EXISTS attempt (
    cluster VARBINARY(32) NOT NULL,
    sub_task_id BIGINT NOT NULL,
    attempt_no BIGINT NOT NULL,
    outcome VARBINARY(64) NOT NULL,
    error LONGTEXT,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    PRIMARY KEY (cluster, sub_task_id, attempt_no)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS log (
    cluster VARBINARY(32) NOT NULL,
    log_id BIGINT NOT NULL,
    sub_task_id BIGINT NOT NULL,
    attempt_no BIGINT NOT NULL,
    execute_times BIGINT NOT NULL,
    content LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    dag_id BIGINT NOT NULL,
    seq BIGINT NOT NULL, -- its number among the DAG's events
    PRIMARY KEY (cluster, log_id),
    KEY log_of_sub_task (cluster, sub_task_id),
    UNIQUE KEY log_of_dag (cluster, dag_id, seq)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event (
    cluster VARBINARY(32) NOT NULL,
    dag_id BIGINT NOT NULL,
    last_seq BIGINT NOT NULL, -- number of the last entry among the DAG's events
    at BIGINT NOT NULL,
    entries LONGTEXT NOT NULL, -- states that were entered, one per line
    PRIMARY KEY (cluster, dag_id, last_seq)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `lock` (
    cluster VARBINARY(32) NOT NULL,
    `key` VARBINARY(255) NOT NULL,
    dag_id BIGINT, -- NULL when free
    token BIGINT NOT NULL,
    reason LONGTEXT NOT NULL,
    since_at BIGINT NOT NULL,
    PRIMARY KEY (cluster, `key`)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- Targets on which the end of a step could not be confirmed.
CREATE TABLE IF NOT EXISTS unconfirmed_target (
    cluster VARBINARY(32) NOT NULL,
    target VARBINARY(512) NOT NULL,
    dag_id BIGINT NOT NULL, -- whose step; outlives the DAG's row
    stage VARBINARY(255) NOT NULL,
    since_at BIGINT NOT NULL,
    PRIMARY KEY (cluster, target)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- The program never changes or deletes a row.
CREATE TABLE IF NOT EXISTS audit (
    cluster VARBINARY(32) NOT NULL,
    audit_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    dag_id BIGINT NOT NULL, -- outlives the DAG's row
    node_id BIGINT, -- when it was done to one node
    action LONGTEXT NOT NULL,
    `by` LONGTEXT NOT NULL, -- who, from where
    reason LONGTEXT NOT NULL,
    PRIMARY KEY (cluster, audit_id),
    KEY audit_of_dag (cluster, dag_id, audit_id)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency_key (
    cluster VARBINARY(32) NOT NULL,
    `key` VARBINARY(512) NOT NULL,
    digest VARBINARY(128) NOT NULL, -- of the request that used it
    dag_id BIGINT NOT NULL,
    PRIMARY KEY (cluster, `key`),
    KEY idempotency_key_of_dag (cluster, dag_id)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- Accepted signed requests; each takes effect only once.
CREATE TABLE IF NOT EXISTS reserved_request (
    cluster VARBINARY(32) NOT NULL,
    digest VARBINARY(64) NOT NULL, -- of AES key and IV, or of an RSA block of the header
    until_at BIGINT NOT NULL,
    PRIMARY KEY (cluster, digest),
    KEY reserved_request_until (cluster, until_at)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

-- Tokens and sessions of a cluster, or of the service (empty cluster); every controller writes them.
CREATE TABLE IF NOT EXISTS token (
    cluster VARBINARY(32) NOT NULL,
    name VARBINARY(512) NOT NULL,
    digest VARBINARY(64) NOT NULL, -- SHA-256 of the token's 32 random bytes
    access VARBINARY(16) NOT NULL, -- read or act
    clusters LONGTEXT, -- JSON list of names, for a token of the service; NULL for all clusters
    created_by LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT, -- NULL for never
    last_used_at BIGINT, -- to the minute; NULL for never
    PRIMARY KEY (cluster, name),
    UNIQUE KEY token_digest (cluster, digest)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS session (
    cluster VARBINARY(32) NOT NULL,
    digest VARBINARY(64) NOT NULL, -- SHA-256 of the session's id
    entry VARBINARY(32) NOT NULL, -- the credentials at log-in
    name LONGTEXT NOT NULL, -- the caller for the audit
    access VARBINARY(16) NOT NULL,
    fingerprint VARBINARY(64), -- HMAC of the password at log-in
    token VARBINARY(64), -- digest of the token at log-in
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL, -- to the minute
    PRIMARY KEY (cluster, digest),
    KEY session_of_token (cluster, token)
) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin;
