-- One row for each request that reached a handler: how it ended and what it took. No prompts, no answers, no keys.
CREATE TABLE requests (
    id                TEXT    NOT NULL PRIMARY KEY,
    started_at_ms     INTEGER NOT NULL, -- since the epoch
    endpoint          TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    streamed          INTEGER NOT NULL, -- 0 or 1
    outcome           TEXT    NOT NULL, -- 'finished', 'failed' or 'cancelled'
    error             TEXT,             -- the kind of failure
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    first_token_ms    INTEGER,          -- after the start; NULL where none came
    total_ms          INTEGER NOT NULL
) STRICT;

CREATE INDEX requests_by_time ON requests (started_at_ms);
