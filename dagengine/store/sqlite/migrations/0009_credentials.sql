-- Adds API tokens and the sessions of browsers.

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
