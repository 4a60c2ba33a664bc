-- Gives the store a random id and an epoch, which fencing tokens contain.

INSERT INTO meta (key, value) VALUES ('store_id', lower(hex(randomblob(16)))), ('epoch', '1');
