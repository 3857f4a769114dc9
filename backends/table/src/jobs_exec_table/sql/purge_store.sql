-- Deletes expired successes and lapsed reservations, oldest first, at most %(limit)s together.
with keys as (
    delete from jobs.job_keys k where k.digest in (
        select e.digest from jobs.job_keys e where e.expires_at <= jobs.clock()
        order by e.expires_at limit %(limit)s for update skip locked)
    returning 1
),
counted as materialized (select count(*) as n from keys),
lapsed as (
    delete from jobs.job_reservations v where v.digest in (
        select e.digest from jobs.job_reservations e where e.lease_until <= clock_timestamp()
        order by e.lease_until limit greatest(%(limit)s - (select c.n from counted c), 0) for update skip locked)
    returning 1
)
select (select c.n from counted c) + (select count(*) from lapsed)
