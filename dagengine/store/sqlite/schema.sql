-- Schema version 9. New stores are created from this file; older stores reach the same schema
-- through migrations/ (a test compares the two).
-- Instants (`*_at`) are microseconds since 1970-01-01T00:00:00Z. States are spelled as on the wire.
-- Checks use OR instead of IN: SQLite rebuilds the list of an IN for every statement, which takes
-- two fifths of the time for writing a step.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The identity of the store, which copies and backups keep; the epoch only grows.
INSERT INTO meta (key, value) VALUES ('store_id', lower(hex(randomblob(16)))), ('epoch', '1');

CREATE TABLE dag (
    dag_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    params TEXT NOT NULL, -- JSON object
    targets TEXT NOT NULL, -- JSON list of names
    stage INTEGER NOT NULL,
    max_stage INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state = 'READY' OR state = 'RUNNING' OR state = 'FAILED' OR state = 'SUCCEED'),
    operator TEXT NOT NULL CHECK (operator = 'RUN' OR operator = 'ROLLBACK' OR operator = 'CANCEL' OR operator = 'PASS'),
    lock_key TEXT,
    lock_token INTEGER NOT NULL, -- of the lock that it holds, 0 for none
    created_at INTEGER NOT NULL,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    last_lock_token INTEGER NOT NULL DEFAULT 0, -- of the lock that it held last, 0 for none
    lock_successor_id INTEGER -- DAG that gets its lock when it ends (force pass)
) STRICT;

CREATE INDEX dag_unfinished ON dag (dag_id) WHERE state = 'READY' OR state = 'RUNNING';

CREATE TABLE node (
    node_id INTEGER PRIMARY KEY,
    dag_id INTEGER NOT NULL REFERENCES dag,
    stage INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind = 'normal' OR kind = 'parallel'),
    flags INTEGER NOT NULL, -- bits: 1 cancel, 2 continue, 4 retry, 8 rollback, 16 pass
    state TEXT NOT NULL CHECK (state = 'PENDING' OR state = 'RUNNING' OR state = 'FAILED' OR state = 'SUCCEED'),
    operator TEXT NOT NULL CHECK (operator = 'RUN' OR operator = 'RETRY' OR operator = 'ROLLBACK' OR operator = 'CANCEL' OR operator = 'PASS'),
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    UNIQUE (dag_id, stage)
) STRICT;

CREATE TABLE sub_task (
    sub_task_id INTEGER PRIMARY KEY,
    node_id INTEGER NOT NULL REFERENCES node,
    dag_id INTEGER NOT NULL REFERENCES dag,
    stage INTEGER NOT NULL,
    target TEXT, -- the lane; NULL in a normal node
    state TEXT NOT NULL CHECK (state = 'PENDING' OR state = 'RUNNING' OR state = 'FAILED' OR state = 'SUCCEED'),
    operator TEXT NOT NULL CHECK (operator = 'RUN' OR operator = 'ROLLBACK' OR operator = 'PASS'),
    attempt_no INTEGER NOT NULL,
    execute_times INTEGER NOT NULL,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    data TEXT, -- JSON object for later stages
    evidence TEXT, -- JSON object for people
    summary TEXT NOT NULL
) STRICT;

CREATE INDEX sub_task_of_dag ON sub_task (dag_id);

CREATE INDEX sub_task_of_node ON sub_task (node_id);

-- Ended attempts; a running attempt is stored in its sub-task's row.
CREATE TABLE attempt (
    sub_task_id INTEGER NOT NULL REFERENCES sub_task,
    attempt_no INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    PRIMARY KEY (sub_task_id, attempt_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    log_id INTEGER PRIMARY KEY,
    sub_task_id INTEGER NOT NULL REFERENCES sub_task,
    attempt_no INTEGER NOT NULL,
    execute_times INTEGER NOT NULL,
    content TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    dag_id INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL DEFAULT 0 -- its number among the DAG's events
) STRICT;

CREATE INDEX log_of_sub_task ON log (sub_task_id);

CREATE UNIQUE INDEX log_of_dag ON log (dag_id, seq);

CREATE TABLE event (
    dag_id INTEGER NOT NULL REFERENCES dag,
    last_seq INTEGER NOT NULL, -- number of the last entry among the DAG's events
    at INTEGER NOT NULL,
    entries TEXT NOT NULL, -- states that were entered, one per line
    PRIMARY KEY (dag_id, last_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE lock (
    key TEXT PRIMARY KEY,
    dag_id INTEGER REFERENCES dag, -- NULL when free
    token INTEGER NOT NULL,
    reason TEXT NOT NULL,
    since_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Targets on which the end of a step could not be confirmed.
CREATE TABLE unconfirmed_target (
    target TEXT PRIMARY KEY,
    dag_id INTEGER NOT NULL, -- whose step; outlives the DAG's row
    stage TEXT NOT NULL,
    since_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    dag_id INTEGER NOT NULL, -- outlives the DAG's row
    node_id INTEGER, -- when it was done to one node
    action TEXT NOT NULL,
    by TEXT NOT NULL, -- who, from where
    reason TEXT NOT NULL
) STRICT;

CREATE INDEX audit_of_dag ON audit (dag_id);

CREATE TABLE idempotency_key (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL, -- of the request that used it
    dag_id INTEGER NOT NULL REFERENCES dag
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_key_of_dag ON idempotency_key (dag_id);

-- Accepted signed requests; each takes effect only once.
CREATE TABLE reserved_request (
    digest BLOB PRIMARY KEY, -- of AES key and IV, or of an RSA block of the header
    until_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX reserved_request_until ON reserved_request (until_at);

-- API tokens. Revoking one deletes its row and its sessions.
CREATE TABLE token (
    name TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE, -- SHA-256 of the token's 32 random bytes
    access TEXT NOT NULL CHECK (access = 'read' OR access = 'act'),
    clusters TEXT, -- JSON list of names, for a token of the service; NULL for all clusters
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER, -- NULL for never
    last_used_at INTEGER -- to the minute; NULL for never
) STRICT, WITHOUT ROWID;

-- Sessions of browsers. Backups do not contain them.
CREATE TABLE session (
    digest BLOB PRIMARY KEY, -- SHA-256 of the session's id
    entry TEXT NOT NULL, -- the credentials at log-in
    name TEXT NOT NULL, -- the caller for the audit
    access TEXT NOT NULL CHECK (access = 'read' OR access = 'act'),
    fingerprint BLOB, -- HMAC of the password at log-in
    token BLOB REFERENCES token (digest) ON DELETE CASCADE, -- the token at log-in
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL -- to the minute
) STRICT, WITHOUT ROWID;

CREATE INDEX session_of_token ON session (token) WHERE token IS NOT NULL;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
