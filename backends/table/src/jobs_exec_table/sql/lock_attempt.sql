-- Is this attempt still in the queue? Asked after a COMMIT whose answer was lost: the lock waits until the other end
-- of the broken connection has committed or rolled back. One probe of the primary key.
select 1 from jobs.jobs_queue where id = %(job_id)s and token = %(token)s for update
