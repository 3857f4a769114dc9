-- Row-level security hides the table from that role again.
drop policy {policy} on jobs.{table};
