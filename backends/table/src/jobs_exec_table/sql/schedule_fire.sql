-- Fires ticks of one schedule for orgs and moves it on, or says why not.
select * from jobs.jobs_fire_v1(
    %(schedule)s, %(expected)s, %(ticks)s::timestamptz[], %(orgs)s::text[], %(next)s, %(missed)s,
    %(max_attempts)s::smallint, %(more)s)
