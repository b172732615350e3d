-- Responses that clients asked to keep: what was said and what was answered. They go after thirty days, or when deleted.
CREATE TABLE responses (
    id         TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL, -- seconds since the epoch
    previous   TEXT,             -- the response that this one goes on from
    input      TEXT    NOT NULL, -- JSON: the items that were new
    response   TEXT    NOT NULL  -- JSON: as the API gives it
) STRICT;

CREATE INDEX responses_by_time ON responses (created_at);
