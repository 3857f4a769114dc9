-- The job types that executors have announced.
select t.name, t.queue, t.identity::text, t.max_attempts, t.last_seen from jobs.job_types t
