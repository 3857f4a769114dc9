-- Writes one schedule. One of code replaces what stood there, but for what an operator did, its counts and its last
-- tick, and keeps its next tick unless the timing has changed; nothing is written when nothing has changed. Without
-- "replace" a schedule that exists stays as it is, and nothing is answered.
with put as (
    insert into jobs.job_schedules as s (owner, org_id, name, type, payload, cron, every, zone, orgs, catch_up,
        catch_up_limit, overlap, jitter, start_at, end_at, tick_as, priority, max_attempts, enabled, next_tick)
    values (%(owner)s, %(org_id)s, %(name)s, %(type)s, %(payload)s::text::json, %(cron)s, %(every)s, %(zone)s,
        %(orgs)s::text[], %(catch_up)s, %(catch_up_limit)s, %(overlap)s, %(jitter)s, %(start)s, %(end)s, %(tick_as)s,
        %(priority)s, %(max_attempts)s, %(enabled)s, %(next_tick)s)
    on conflict (ref) do update
        set type = excluded.type, payload = excluded.payload, cron = excluded.cron, every = excluded.every,
            zone = excluded.zone, orgs = excluded.orgs, catch_up = excluded.catch_up,
            catch_up_limit = excluded.catch_up_limit, overlap = excluded.overlap, jitter = excluded.jitter,
            start_at = excluded.start_at, end_at = excluded.end_at, tick_as = excluded.tick_as,
            priority = excluded.priority, max_attempts = excluded.max_attempts, enabled = excluded.enabled,
            updated_at = jobs.clock(),
            next_tick = case
                when (s.cron, s.every, s.zone, s.start_at, s.end_at)
                    is not distinct from (excluded.cron, excluded.every, excluded.zone, excluded.start_at, excluded.end_at)
                    then s.next_tick
                else excluded.next_tick
            end
        where %(replace)s and
            (s.type, s.payload::text, s.cron, s.every, s.zone, s.orgs, s.catch_up, s.catch_up_limit, s.overlap, s.jitter,
             s.start_at, s.end_at, s.tick_as, s.priority, s.max_attempts, s.enabled)
            is distinct from (excluded.type, excluded.payload::text, excluded.cron, excluded.every, excluded.zone,
             excluded.orgs, excluded.catch_up, excluded.catch_up_limit, excluded.overlap, excluded.jitter,
             excluded.start_at, excluded.end_at, excluded.tick_as, excluded.priority, excluded.max_attempts,
             excluded.enabled)
    returning s.id, s.next_tick
)
select p.id, case when %(enabled)s then case when p.next_tick is null then 'ended' else 'active' end else 'disabled' end
from put p
