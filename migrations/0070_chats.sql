-- Conversations of the web UI. Times are milliseconds since the epoch.
CREATE TABLE chats (
    owner      TEXT    NOT NULL, -- '' for administrators and a server without keys, otherwise the key's tenant
    id         TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    pinned     INTEGER NOT NULL, -- 0 or 1
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision   INTEGER NOT NULL, -- counts the changes
    bytes      INTEGER NOT NULL, -- of the body
    body       TEXT    NOT NULL, -- JSON
    PRIMARY KEY (owner, id)
) STRICT;

CREATE INDEX chats_by_time ON chats (owner, pinned, updated_at, id);
