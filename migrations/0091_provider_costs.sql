-- The cost of a provider since a time, without reading the rows of all requests.
CREATE INDEX requests_by_cost ON requests (backend, started_at_ms, cost_nanousd) WHERE cost_nanousd IS NOT NULL;
