-- Moves the business clock of a test's database.
create or replace function jobs.clock() returns timestamptz
language sql stable parallel safe
return pg_catalog.statement_timestamp() + {offset} * interval '1 second'
