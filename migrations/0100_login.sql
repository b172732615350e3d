-- Signing in to the web UI. Neither the password nor a session's token is here, only what recognises them. Times are seconds since
-- the epoch.
CREATE TABLE login (
    only_row        INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    secret          BLOB    NOT NULL, -- signs the tokens of sessions
    password        TEXT,             -- Argon2id, as a PHC string; NULL: there is none
    changed_at      INTEGER,          -- of the password
    link_digest     BLOB,             -- SHA-256 of the token of the one-time link
    link_expires_at INTEGER
) STRICT;

CREATE TABLE sessions (
    id           TEXT    NOT NULL PRIMARY KEY,
    digest       BLOB    NOT NULL, -- SHA-256 of the secret in its token
    name         TEXT    NOT NULL, -- of the browser
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT;
