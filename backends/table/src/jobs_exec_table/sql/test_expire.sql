-- Ends a lease now; a stamp that is there becomes a full lease old.
update jobs.job_executors
set lease_until = clock_timestamp() - interval '1 millisecond',
    lapsed_at = lapsed_at - lease_seconds * interval '1 second'
where id = %(id)s
