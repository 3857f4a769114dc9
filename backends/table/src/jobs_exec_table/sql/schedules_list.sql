-- Schedules by name, owner and tenant; read through job_schedules_by_name, in its order.
select s.id, s.name, s.owner, s.org_id, s.type, s.state, s.cron, s.every, s.zone, s.orgs, s.catch_up, s.catch_up_limit,
    s.overlap, s.jitter, s.start_at, s.end_at, s.tick_as, s.priority, s.max_attempts, s.enabled, s.payload::text,
    s.next_tick, s.last_tick, s.fired, s.missed
from jobs.all_schedules s
where (%(name)s::text is null or s.name = %(name)s) and (%(owner)s::text is null or s.owner = %(owner)s)
    and (%(org_id)s::text is null or s.org_id = %(org_id)s)
order by s.name, s.owner, s.org_id nulls first
limit %(limit)s
