-- The time, the next tick of those that are not due, and what is due, longest waiting first: one row at least.
select one.now, one.next_tick, s.id, s.name::text, s.owner, s.org_id::text, s.type::text, 'active', s.cron, s.every, s.zone,
    s.orgs::text[], s.catch_up, s.catch_up_limit, s.overlap, s.jitter, s.start_at, s.end_at, s.tick_as, s.priority,
    s.max_attempts, s.enabled, s.payload::text, s.next_tick, s.last_tick, s.fired, s.missed
from (select jobs.clock() as now, jobs.schedules_next_v1() as next_tick) one
left join jobs.schedules_due_v1(%(limit)s) s on true
