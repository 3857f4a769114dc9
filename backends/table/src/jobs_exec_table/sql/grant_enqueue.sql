-- What an enqueuer needs: the version of the schema, and functions that run with the rights of their owner. It reads
-- and writes no table of jobs.
grant usage on schema jobs to {role};
grant select on jobs.schema_migrations to {role};
grant execute on function jobs.jobs_enqueue_v1, jobs.enqueue_seqs_v1, jobs.enqueue, jobs.known_types_v1 to {role};
