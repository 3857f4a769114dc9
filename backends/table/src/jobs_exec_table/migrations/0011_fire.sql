-- Firing schedules: the jobs of ticks for orgs, by an executor in turn, or out of turn by people and by pg_cron.
--
-- The row of the schedule is the only lock, and `next_tick` what is compared: whoever saw another one does nothing.

-- Inserts the jobs of one schedule for all ticks and orgs, as jobs_enqueue_v1 would. Answers how many were made, and
-- how many existed: live, or succeeded with an unexpired key.
--
-- 10,000 orgs take 0.25 to 0.4 s with durable commits (PostgreSQL 15 and 18), of which calling jobs.run_hash_v1 for each
-- is 0.06 to 0.12 s: less than a second text of the rule would be worth.
create or replace function jobs.fire_jobs(
    p_schedule jobs.job_schedules, p_ticks timestamptz[], p_orgs text[], p_queue text, p_max_attempts smallint,
    out created bigint, out duplicates bigint
)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now constant timestamptz := jobs.clock();
    v_digests uuid[];
begin
    with ticks as materialized (
        select t.tick, jobs.tick_payload(p_schedule.payload, p_schedule.tick_as, t.tick)::jobs.job_data as payload,
            convert_to(jobs.tick_key(p_schedule.id, t.tick), 'UTF8') as key
        from unnest(p_ticks) t(tick)
    ),
    -- All that this firing is about, but for orgs to be skipped. In the order of ticks: an org's jobs run in it.
    asked as materialized (
        select o.org_id, t.tick, t.payload, nextval('jobs.jobs_queue_seq') as seq,
            jobs.run_hash_v1(o.org_id, p_schedule.type, 'key', t.key) as run_hash,
            case when p_schedule.jitter = 0 then t.tick
                 else t.tick + p_schedule.jitter * jobs.org_share(p_schedule.id, o.org_id) * interval '1 second'
            end as due
        from ticks t
        cross join unnest(p_orgs) o(org_id)
        left join lateral (
            select true as live
            from jobs.job_schedule_jobs j
            join jobs.jobs_queue q on q.id = j.job_id
            where p_schedule.overlap = 'skip' and j.schedule = p_schedule.id and j.org_id = o.org_id
            limit 1
        ) l on true
        where l.live is null
    ),
    keyed as materialized (
        select a.*, d.digest, k.done is not null or r.done is not null as done
        from asked a
        cross join lateral (select encode(substring(a.run_hash from 1 for 16), 'hex')::uuid) d(digest)
        left join lateral (
            select true as done from jobs.job_keys k where k.digest = d.digest and k.expires_at > v_now limit 1
        ) k on true
        -- Behind a tick that was fired out of turn: what has had its job, also one that died, gets no other.
        left join lateral (
            select true as done from jobs.job_runs r
            where a.tick <= p_schedule.last_tick and r.org_id = a.org_id and r.run_hash = a.run_hash
            limit 1
        ) r on true
    ),
    -- turn counts the jobs of each org that are still to be done: with overlap skip it gets the first of them.
    turns as (
        select k.*, count(*) filter (where not k.done) over org as turn
        from keyed k
        where p_schedule.overlap = 'skip'
        window org as (partition by k.org_id collate "C" order by k.tick, k.seq)
        union all
        select k.*, case when k.done then 0 else 1 end from keyed k where p_schedule.overlap = 'allow'
    ),
    made as (
        insert into jobs.jobs_queue (seq, org_id, type, queue, payload, identity, run_hash, digest, max_attempts,
            priority, created_at, run_at, first_due, state)
        select t.seq, t.org_id, p_schedule.type, p_queue, t.payload, 'key', t.run_hash, t.digest, p_max_attempts,
            p_schedule.priority, v_now, t.due, greatest(t.due, v_now),
            case when t.due <= v_now then 'ready' else 'scheduled' end::jobs.job_state
        from turns t
        where not t.done and t.turn = 1
        order by t.digest, t.seq
        on conflict (digest) do nothing
        returning 1
    )
    select (select count(*) from made), count(*) filter (where t.turn = case when t.done then 0 else 1 end),
        array_agg(t.digest) filter (where not t.done and t.turn = 1 and p_schedule.overlap = 'skip')
    into created, duplicates, v_digests
    from turns t;
    duplicates := duplicates - created;
    insert into jobs.job_schedule_jobs (schedule, org_id, job_id, seen_at)
    select p_schedule.id, q.org_id, q.id, v_now from jobs.jobs_queue q where q.digest = any(v_digests)
    on conflict (schedule, org_id) do update set job_id = excluded.job_id, seen_at = excluded.seen_at;
end
$$;

-- A tick as it stands in identities and payloads.
create or replace function jobs.tick_text(p_tick timestamptz) returns text
language sql stable parallel safe
return pg_catalog.to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- The identity of a schedule's job at a tick. The twin of the one computed in clients.
create or replace function jobs.tick_key(p_schedule uuid, p_tick timestamptz) returns text
language sql stable parallel safe
return 'schedule:' || p_schedule || '@' || jobs.tick_text(p_tick);

-- The payload at a tick, which is its last field where it is wanted. Spliced as text: jsonb would re-type the numbers.
create or replace function jobs.tick_payload(p_payload json, p_tick_as text, p_tick timestamptz) returns json
language sql stable
set search_path = ''
as $$
    select case
        when p_tick_as is null then p_payload
        else (left(rtrim(p_payload::text, E' \t\r\n'), -1)
            || case when exists (select from json_object_keys(p_payload)) then ',' else '' end
            || to_json(p_tick_as)::text || ':"' || jobs.tick_text(p_tick) || '"}')::json
    end
$$;

-- An org's share of the jitter, 0 up to but not 1: the first 4 bytes of SHA-256(schedule id, org id) over 2^32.
create or replace function jobs.org_share(p_schedule uuid, p_org text) returns double precision
language sql immutable parallel safe
return ('x' || pg_catalog.encode(substring(
    pg_catalog.sha256(pg_catalog.uuid_send(p_schedule) || pg_catalog.convert_to(p_org, 'UTF8')) from 1 for 4), 'hex')
    )::bit(32)::bigint / 4294967296.0::double precision;

-- Fires ticks of a schedule for orgs and moves it on to p_next; or, with p_expected null, fires them out of turn.
--
-- "outcome" is a FireOutcome. p_more: further orgs of the same ticks follow in this transaction, and the schedule is
-- moved on with the last of them. p_max_attempts is for types that nobody has announced.
create or replace function jobs.jobs_fire_v1(
    p_schedule uuid, p_expected timestamptz, p_ticks timestamptz[], p_orgs text[], p_next timestamptz,
    p_missed bigint, p_max_attempts smallint, p_more boolean default false,
    out outcome text, out created bigint, out skipped bigint, out duplicates bigint, out queue text
)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
-- Whoever has enqueued one of these jobs in a transaction that stays open would hold up those of all orgs, and us.
set lock_timeout = '3s'
as $$
declare
    v_row jobs.job_schedules%rowtype;
    v_ticks timestamptz[];
    v_attempts smallint;
begin
    created := 0;
    skipped := 0;
    duplicates := 0;
    select s.* into v_row from jobs.job_schedules s where s.id = p_schedule for update skip locked;
    if not found then
        outcome := case when exists (select from jobs.job_schedules s where s.id = p_schedule)
            then 'busy' else 'moved' end;
        return;
    end if;
    v_ticks := array(
        select distinct t from unnest(p_ticks) t
        where p_expected is not null or v_row.last_tick is null or t > v_row.last_tick
        order by t);
    if p_expected is null and (v_row.paused or v_ticks = '{}') or p_expected is not null and (
        v_row.next_tick is distinct from p_expected
        or (select a.state from jobs.all_schedules a where a.id = p_schedule) <> 'active'
    ) then
        outcome := 'moved';
        return;
    end if;
    if v_row.org_id is not null and p_orgs && array_remove(p_orgs, v_row.org_id::text) then
        raise exception 'orgs: schedule % belongs to one tenant and is for no other', v_row.name
            using errcode = '22023';
    end if;

    select t.queue, t.max_attempts into queue, v_attempts from jobs.job_types t where t.name = v_row.type;
    queue := coalesce(queue, 'default');
    select j.created, j.duplicates into created, duplicates
    from jobs.fire_jobs(v_row, v_ticks, p_orgs, queue,
                        coalesce(v_row.max_attempts, v_attempts, p_max_attempts)) j;
    skipped := cardinality(v_ticks) * cardinality(p_orgs) - created - duplicates;
    if not p_more then
        update jobs.job_schedules s
        set next_tick = case when p_expected is null then s.next_tick else p_next end,
            last_tick = greatest(s.last_tick, v_ticks[cardinality(v_ticks)]),
            -- One that was fired out of turn before is counted once, unless it has made a job now.
            fired = s.fired + (
                select count(*) from unnest(v_ticks) t
                where s.last_tick is null or t > s.last_tick or jobs_fire_v1.created > 0),
            missed = s.missed + p_missed
        where s.id = p_schedule;
    end if;
    outcome := 'fired';
exception when lock_not_available then
    outcome := 'busy';
    created := 0;
    skipped := 0;
    duplicates := 0;
end
$$;

-- Fires one tick of a schedule out of turn, from SQL: for pg_cron, whose own expression is then the clock, and for
-- people. A tick that is not later than the last one fired does nothing, so a repeat is harmless. pg_cron comes a moment
-- after the minute, and perhaps twice: with date_trunc('minute', now()) both mean the same tick.
--
-- It runs with the rights of its owner, so that a role of pg_cron needs this function alone. Whoever may enqueue may not
-- fire: a firing moves a schedule on for all its orgs, and makes jobs of tenants that are not the caller's. `db grant
-- --run` grants it; to somebody else its owner grants usage on the schema and execute on this function.
create or replace function jobs.fire(
    schedule text, tick timestamptz, orgs text[] default null, org_id text default null, owner text default null
) returns table (outcome text, created bigint, skipped bigint, duplicates bigint)
language plpgsql volatile security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    v_tick constant timestamptz := date_trunc('second', fire.tick);
    v_found uuid[];
    v_row jobs.job_schedules%rowtype;
begin
    if v_tick is null or v_tick > jobs.clock() then
        raise exception 'tick: must be a time that has come; the ticks before it would never fire'
            using errcode = '22023', hint = 'pass date_trunc(''minute'', now())';
    end if;
    v_found := array(
        select s.id from jobs.job_schedules s
        where s.name = fire.schedule and s.org_id is not distinct from fire.org_id
            and (fire.owner is null or s.owner = fire.owner));
    if cardinality(v_found) <> 1 then
        raise exception 'schedule: % schedules are named %', cardinality(v_found), quote_nullable(fire.schedule)
            using errcode = '22023', hint = 'select name, owner, org_id from jobs.all_schedules lists them; '
                'pass owner => the distribution of one from code, org_id => the tenant of one that belongs to it';
    end if;
    -- Waits for whoever is changing or firing it: a clock that gave way would lose its tick.
    select s.* into v_row from jobs.job_schedules s where s.id = v_found[1] for update;
    if v_row.orgs is null and fire.orgs is null then
        raise exception 'orgs: is missing; schedule % is for all orgs, which only your database can list', v_row.name
            using errcode = '22023', hint = 'pass orgs => array(select id::text from your_orgs)';
    elsif not fire.orgs <@ v_row.orgs::text[] then
        raise exception 'orgs: names one that schedule % is not for', v_row.name
            using errcode = '22023', hint = 'leave orgs out: it is for those that it names';
    end if;
    select f.outcome, f.created, f.skipped, f.duplicates into outcome, created, skipped, duplicates
    from jobs.jobs_fire_v1(v_found[1], null, array[v_tick], coalesce(fire.orgs, v_row.orgs::text[]), null, 0,
                           5::smallint) f;
    if outcome = 'busy' then
        raise exception 'schedule: % waits for a transaction that has enqueued one of its jobs', v_row.name
            using errcode = '55P03';
    end if;
    return next;
end
$$;

select jobs.close_to_strangers();
