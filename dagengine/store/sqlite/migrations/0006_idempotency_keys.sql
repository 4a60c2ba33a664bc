-- Keys by which callers say that a request is one that they sent before: one DAG each.

CREATE TABLE idempotency_key (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL, -- of the request that used it
    dag_id INTEGER NOT NULL REFERENCES dag
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_key_of_dag ON idempotency_key (dag_id);
