-- API keys. A secret is not here, only its SHA-256. Times are seconds since the epoch.
CREATE TABLE keys (
    id                  TEXT    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL,
    digest              BLOB    NOT NULL UNIQUE, -- SHA-256 of the secret
    last_four           TEXT    NOT NULL,        -- the end of the secret, for lists
    scopes              TEXT    NOT NULL,        -- JSON: names
    models              TEXT    NOT NULL,        -- JSON: names and beginnings; [] is all
    local_only          INTEGER NOT NULL,        -- 0 or 1
    priority            TEXT,                    -- JSON; NULL: what each request says
    requests_per_minute INTEGER,
    tokens_per_minute   INTEGER,
    tokens_per_day      INTEGER,
    tokens_per_month    INTEGER,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER,
    last_used_at        INTEGER,
    revoked_at          INTEGER
) STRICT;

-- The key of a request. Its name stands beside it, so that the row says it without the table of keys.
ALTER TABLE requests ADD COLUMN key_id TEXT;
ALTER TABLE requests ADD COLUMN key_name TEXT;

CREATE INDEX requests_by_key ON requests (key_id, started_at_ms) WHERE key_id IS NOT NULL;
