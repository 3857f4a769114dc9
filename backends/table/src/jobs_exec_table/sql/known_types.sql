-- The job types that executors have announced; through a function, so that enqueuers need no right on the table.
select t.name, t.queue, t.identity, t.max_attempts, t.last_seen from jobs.known_types_v1() t
