-- Names columns and tables by the project's terms. Changes no stored value.

ALTER TABLE dag RENAME COLUMN fence TO lock_token;

ALTER TABLE dag RENAME COLUMN held TO last_lock_token;

ALTER TABLE dag RENAME COLUMN heir TO lock_successor_id;

ALTER TABLE event RENAME COLUMN last TO last_seq;

ALTER TABLE unproven RENAME TO unconfirmed_target;

ALTER TABLE reserved RENAME TO reserved_request;

ALTER TABLE reserved_request RENAME COLUMN print TO digest;

DROP INDEX reserved_until;

CREATE INDEX reserved_request_until ON reserved_request (until_at);
