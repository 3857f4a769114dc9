-- Every executor's row, live ones first. lost: its stamp is a full lease old, so anybody may reap it.
select e.id, e.name,
    case
        when e.lease_until > clock_timestamp() then 'live'
        when e.lapsed_at <= clock_timestamp() - e.lease_seconds * interval '1 second' then 'lost'
        else 'lapsed'
    end as state,
    e.queues, (select count(*) from jobs.jobs_queue q where q.executor = e.id and q.state = 'running'),
    e.started_at, e.lease_until
from jobs.job_executors e
order by e.lease_until <= clock_timestamp(), e.started_at
