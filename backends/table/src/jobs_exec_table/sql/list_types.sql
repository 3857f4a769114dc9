-- Every announced type with its live jobs and the executors with a live lease that carry it.
select t.name::text, t.queue::text, t.identity::text, t.max_attempts, t.last_seen,
    (select count(*) from jobs.job_executors e where e.lease_until > clock_timestamp() and t.name::text = any(e.types)),
    count(q.id) filter (where q.state = 'scheduled'), count(q.id) filter (where q.state = 'ready'),
    count(q.id) filter (where q.state = 'running'), count(q.id) filter (where q.state = 'held')
from jobs.job_types t
left join jobs.jobs_queue q on q.type = t.name
group by t.name
order by t.name
