-- Providers and routes that were made while the server runs. Those of config.toml are not here. Times are seconds since the epoch.
CREATE TABLE providers (
    name       TEXT    NOT NULL PRIMARY KEY,
    document   TEXT    NOT NULL, -- JSON, without the API key
    sealed_key BLOB,             -- the API key, sealed by the master key; NULL: none
    last_four  TEXT,             -- the end of a long API key, for lists
    enabled    INTEGER NOT NULL, -- 0 or 1
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- One row. Every change of providers or routes increments the revision in the same transaction.
CREATE TABLE routing (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision        INTEGER NOT NULL,
    routes          TEXT    NOT NULL, -- JSON: a list
    routes_revision INTEGER NOT NULL  -- counts the changes of routes alone
) STRICT;

INSERT INTO routing (id, revision, routes, routes_revision) VALUES (1, 0, '[]', 0);
