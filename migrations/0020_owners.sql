-- Whose a kept response is: a name that follows from the API key; empty where no key is needed. And what requests say of
-- their sender, their conversation and their purpose.
ALTER TABLE responses ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN sender TEXT;
ALTER TABLE requests ADD COLUMN session TEXT;
ALTER TABLE requests ADD COLUMN notes TEXT; -- JSON
