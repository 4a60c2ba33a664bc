-- What happened to a DAG, numbered: states in a row of their own for each batch, lines where they are.

CREATE TABLE event (
    dag_id INTEGER NOT NULL REFERENCES dag,
    last INTEGER NOT NULL, -- number of the last entry
    at INTEGER NOT NULL,
    entries TEXT NOT NULL, -- states that were entered, one a line
    PRIMARY KEY (dag_id, last)
) STRICT, WITHOUT ROWID;

ALTER TABLE log ADD COLUMN dag_id INTEGER NOT NULL DEFAULT 0;

ALTER TABLE log ADD COLUMN seq INTEGER NOT NULL DEFAULT 0; -- number among the DAG's events

UPDATE log SET dag_id = numbered.dag_id, seq = numbered.seq
FROM (
    SELECT log_id, sub_task.dag_id, ROW_NUMBER() OVER (PARTITION BY sub_task.dag_id ORDER BY log_id) AS seq
    FROM log JOIN sub_task USING (sub_task_id)
) AS numbered
WHERE log.log_id = numbered.log_id;

CREATE UNIQUE INDEX log_of_dag ON log (dag_id, seq);
