-- Rollback (which lock was held), force pass (who inherits it), and the audit.

ALTER TABLE dag ADD COLUMN held INTEGER NOT NULL DEFAULT 0; -- token of the lock it held last

ALTER TABLE dag ADD COLUMN heir INTEGER; -- DAG that gets its lock when it ends

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

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
