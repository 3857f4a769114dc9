-- Takes back every right in the schema.
revoke all on all tables in schema jobs from {role};
revoke all on all sequences in schema jobs from {role};
revoke all on all functions in schema jobs from {role};
revoke all on schema jobs from {role};
