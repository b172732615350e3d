-- Whether the content of a key's requests is stored.
ALTER TABLE keys ADD COLUMN store_content INTEGER NOT NULL DEFAULT 0; -- 0 or 1

-- Prompts and outputs of requests whose key says so. A row goes with its request, or earlier.
CREATE TABLE request_contents (
    request_id    TEXT    NOT NULL PRIMARY KEY, -- the id in requests
    started_at_ms INTEGER NOT NULL,             -- since the epoch
    content       TEXT    NOT NULL              -- JSON
) STRICT;

CREATE INDEX request_contents_by_time ON request_contents (started_at_ms);

CREATE TRIGGER request_is_deleted AFTER DELETE ON requests BEGIN
    DELETE FROM request_contents WHERE request_id = OLD.id;
END;
