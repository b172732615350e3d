-- How the route of a request was chosen, as JSON: each route that was looked at, the models to ask, and why some did not answer.
-- NULL where the settings have no route for the model's name.
ALTER TABLE requests ADD COLUMN trace TEXT;
