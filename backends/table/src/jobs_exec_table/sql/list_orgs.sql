-- Orgs with live jobs or dead runs, longest waiting first. Reads the whole queue: for people, not for executors.
select coalesce(l.org_id, d.org_id) as org_id, coalesce(l.scheduled, 0), coalesce(l.ready, 0), coalesce(l.running, 0),
    coalesce(l.held, 0), coalesce(d.dead, 0), l.oldest_wait
from (
    select q.org_id::text as org_id,
        count(*) filter (where q.state = 'scheduled') as scheduled,
        count(*) filter (where q.state = 'ready') as ready,
        count(*) filter (where q.state = 'running') as running,
        count(*) filter (where q.state = 'held') as held,
        max(greatest(extract(epoch from jobs.clock() - q.first_due) - q.held_seconds, 0)::double precision)
            filter (where q.state = 'ready') as oldest_wait
    from jobs.jobs_queue q
    group by q.org_id
) l
full join (
    select r.org_id::text as org_id, count(*) as dead from jobs.job_runs r where r.status = 'dead' group by r.org_id
) d on d.org_id = l.org_id
order by l.oldest_wait desc nulls last, 1
limit %(limit)s
