-- Cheaper writes: checks with OR instead of IN (a list is built anew by every statement); an
-- attempt's row is written once, at its end. And the targets whose state is not proven.

DELETE FROM attempt WHERE outcome IS NULL; -- the running one is in its sub-task's row

CREATE TABLE new_dag (
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
    fence INTEGER NOT NULL, -- token of the lock it holds, 0 for none
    created_at INTEGER NOT NULL,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0, -- token of the lock it held last
    heir INTEGER -- DAG that gets its lock when it ends
) STRICT;

INSERT INTO new_dag SELECT * FROM dag;

DROP TABLE dag;

ALTER TABLE new_dag RENAME TO dag;

CREATE INDEX dag_unfinished ON dag (dag_id) WHERE state = 'READY' OR state = 'RUNNING';

CREATE TABLE new_node (
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

INSERT INTO new_node SELECT * FROM node;

DROP TABLE node;

ALTER TABLE new_node RENAME TO node;

CREATE TABLE new_sub_task (
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

INSERT INTO new_sub_task SELECT * FROM sub_task;

DROP TABLE sub_task;

ALTER TABLE new_sub_task RENAME TO sub_task;

CREATE INDEX sub_task_of_dag ON sub_task (dag_id);

CREATE INDEX sub_task_of_node ON sub_task (node_id);

CREATE TABLE new_attempt (
    sub_task_id INTEGER NOT NULL REFERENCES sub_task,
    attempt_no INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    PRIMARY KEY (sub_task_id, attempt_no)
) STRICT, WITHOUT ROWID;

INSERT INTO new_attempt SELECT * FROM attempt;

DROP TABLE attempt;

ALTER TABLE new_attempt RENAME TO attempt;

CREATE TABLE unproven (
    target TEXT PRIMARY KEY,
    dag_id INTEGER NOT NULL, -- whose step; outlives the DAG's row
    stage TEXT NOT NULL,
    since_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
