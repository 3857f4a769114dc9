-- The nightly report of one org, at 03:00 UTC. The later calls have the same tick: they find the work done, and are
-- there for the night in which the endpoint could not be reached at three.
select cron.schedule(
    'nightly report of acme',
    '0,5,15,30 3 * * *',
    $$select scheduler.trigger_job('acme', 'report.nightly', date_trunc('hour', now(), 'UTC'))$$
);

-- What failed and is to be tried again, and what others enqueued, is run here, unless a `jobs-exec run` does it.
select cron.schedule(
    'due jobs',
    '* * * * *',
    $$select scheduler.call_jobs('/tick', '{"budget": 20}')$$
);
