-- Which model answered a request, and the way to it. NULL in rows of earlier versions.
ALTER TABLE requests ADD COLUMN backend TEXT;         -- 'local' or a provider; NULL where none was asked
ALTER TABLE requests ADD COLUMN used_model TEXT;      -- its id at the backend, where the client's name differs
ALTER TABLE requests ADD COLUMN route TEXT;           -- the route that applied
ALTER TABLE requests ADD COLUMN fallback_reason TEXT; -- why earlier models of the route did not answer
ALTER TABLE requests ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0;

-- Pages of the list are sorted by both.
CREATE INDEX requests_by_start ON requests (started_at_ms, id);
DROP INDEX requests_by_time;
