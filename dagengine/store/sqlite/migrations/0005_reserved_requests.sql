-- Signed requests that were let in to act: none of them may act again.

CREATE TABLE reserved (
    print BLOB PRIMARY KEY, -- digest of AES key and IV, or of an RSA block of the header
    until_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX reserved_until ON reserved (until_at);
