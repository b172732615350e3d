-- The gateway that makes a response while nobody waits: the name of its file in HOME/gateways, which it holds a lock on.
-- NULL where nobody does (any more).
ALTER TABLE responses ADD COLUMN maker TEXT;
