-- The limits of a key on what providers cost, in billionths of a US dollar.
ALTER TABLE keys ADD COLUMN cost_per_day_nanousd INTEGER;
ALTER TABLE keys ADD COLUMN cost_per_month_nanousd INTEGER;
