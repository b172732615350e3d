-- How often a request was given to another worker, because the one it had was lost.
ALTER TABLE requests ADD COLUMN recoveries INTEGER NOT NULL DEFAULT 0;
