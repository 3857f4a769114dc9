-- Row-level security admits one role to all rows of one table.
create policy {policy} on jobs.{table} to {role} using (true) with check (true);
