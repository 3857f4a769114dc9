-- Moves runs that did not succeed back into the queue.
select * from jobs.jobs_redrive_v1(%(ids)s::uuid[])
