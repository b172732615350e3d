-- The cost of a request at a provider, by the price that its settings had. NULL: no price was known.
ALTER TABLE requests ADD COLUMN cost_nanousd INTEGER; -- billionths of a US dollar
ALTER TABLE requests ADD COLUMN price_since TEXT;     -- the first day of that price; NULL: it has none
