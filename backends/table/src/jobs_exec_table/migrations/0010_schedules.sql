-- Schedules: what becomes due for which orgs at which ticks, and how far each has fired.
--
-- Nobody leads. Whoever finds a schedule due computes its ticks (cron expressions and zones are not this database's to
-- read) and asks to fire them: in one transaction its row is locked and compared with what the asker saw, the jobs of
-- all orgs are inserted, and the row is moved on. The identity of each job, (schedule, org, tick), is the second belt.

do $$
begin
    create domain jobs.schedule_name as text collate "C"
        constraint schedule_name_is_a_letter_then_letters_digits_or_punctuation
            check (value ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$');
exception when duplicate_object then
    null;  -- applied before; a domain cannot be created "if not exists"
end
$$;

create table if not exists jobs.job_schedules (
    id uuid not null default jobs.uuid_v7(),
    owner text collate "C" not null default '',
    org_id jobs.org_id,
    name jobs.schedule_name not null,
    -- Neither an owner nor a name has a slash in it.
    ref text collate "C" not null generated always as (owner || '/' || name || coalesce('/' || org_id, '')) stored,
    type jobs.type_name not null,
    payload jobs.job_data not null default '{}',
    cron text,
    every bigint,
    zone text not null default 'UTC',
    orgs jobs.org_id[],
    catch_up text not null default 'last',
    catch_up_limit smallint not null default 10,
    overlap text not null default 'allow',
    jitter double precision not null default 0,
    start_at timestamptz,
    end_at timestamptz,
    tick_as text,
    priority smallint not null default 5,
    max_attempts smallint,
    enabled boolean not null default true,
    paused boolean not null default false,
    next_tick timestamptz,
    last_tick timestamptz,
    fired bigint not null default 0,
    missed bigint not null default 0,
    created_at timestamptz not null default jobs.clock(),
    updated_at timestamptz not null default jobs.clock(),
    constraint job_schedules_pkey primary key (id),
    constraint a_name_is_unique_for_each_owner_and_tenant unique (ref),
    constraint owner_is_empty_or_a_distribution check (owner ~ '^([A-Za-z0-9][A-Za-z0-9._-]*)?$'),
    constraint either_cron_or_every_is_set check ((cron is null) <> (every is null)),
    constraint cron_has_1_to_256_characters check (length(cron) between 1 and 256),
    constraint every_is_at_least_a_second check (every >= 1),
    constraint zone_has_1_to_64_characters check (length(zone) between 1 and 64),
    -- Not "=": with orgs null, all of them, it would be neither true nor false, and pass.
    constraint a_tenants_schedule_is_for_its_own_org_alone
        check (org_id is null or orgs is not distinct from array[org_id]),
    constraint orgs_are_1_to_10000_or_all
        check (orgs is null or cardinality(orgs) between 1 and 10000 and array_position(orgs, null) is null),
    constraint catch_up_is_none_last_or_all check (catch_up in ('none', 'last', 'all')),
    constraint catch_up_limit_is_1_to_1000 check (catch_up_limit between 1 and 1000),
    constraint overlap_is_allow_or_skip check (overlap in ('allow', 'skip')),
    constraint jitter_is_at_most_a_day check (jitter between 0 and 86400),
    constraint end_is_later_than_start check (end_at > start_at),
    constraint ticks_are_whole_seconds check (
        extract(second from next_tick) % 1 = 0 and extract(second from last_tick) % 1 = 0
        and extract(second from start_at) % 1 = 0 and extract(second from end_at) % 1 = 0),
    constraint times_lie_between_the_years_1970_and_9999 check (
        least(next_tick, last_tick, start_at, end_at) >= '1970-01-01 00:00+00'
        and greatest(next_tick, last_tick, start_at, end_at) < '9999-12-30 00:00+00'),
    constraint tick_as_has_1_to_128_characters check (length(tick_as) between 1 and 128),
    -- A payload that no client could read would stop the reading of all that is due with it.
    constraint payload_can_be_read check (jobs.problem_of_data_v1(payload, 1073741824) is null),
    constraint priority_is_0_to_9 check (priority between 0 and 9),
    constraint max_attempts_is_1_to_1000 check (max_attempts between 1 and 1000),
    constraint counts_are_never_negative check (fired >= 0 and missed >= 0)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- What is due of run time. Schedules of code are found by their ref.
create index if not exists job_schedules_due on jobs.job_schedules (next_tick, id)
    where owner = '' and enabled and not paused and next_tick is not null;
create index if not exists job_schedules_by_name on jobs.job_schedules (name, owner, org_id nulls first);
create index if not exists job_schedules_by_org on jobs.job_schedules (org_id, name) where org_id is not null;

-- The last job of each org, of schedules that skip an org whose last job is live.
create table if not exists jobs.job_schedule_jobs (
    schedule uuid not null,
    job_id uuid not null,
    seen_at timestamptz not null default jobs.clock(),
    org_id jobs.org_id not null,
    constraint job_schedule_jobs_pkey primary key (schedule, org_id),
    constraint the_schedule_exists foreign key (schedule) references jobs.job_schedules (id) on delete cascade
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

create index if not exists job_schedule_jobs_retention on jobs.job_schedule_jobs (seen_at);

comment on table jobs.job_schedules is
    'Schedules, from code and from run time: what becomes due for whom and when, and how far each has fired.';
comment on column jobs.job_schedules.id is 'Enters the identity of its jobs: schedule:<id>@<tick>.';
comment on column jobs.job_schedules.owner is
    'The distribution (or application) whose code defines it; empty when it was added at run time.';
comment on column jobs.job_schedules.org_id is 'The tenant it belongs to, whose org is then the only one it is for.';
comment on column jobs.job_schedules.name is 'Unique for each owner and tenant.';
comment on column jobs.job_schedules.ref is 'Owner, name and tenant in one: what executors announce.';
comment on column jobs.job_schedules.type is 'The type of its jobs.';
comment on column jobs.job_schedules.payload is 'The data of its jobs, as text, without the tick.';
comment on column jobs.job_schedules.cron is 'When: a cron expression, read in zone.';
comment on column jobs.job_schedules.every is 'When: seconds between ticks, counted from start_at, else from 1970.';
comment on column jobs.job_schedules.zone is 'IANA name of the time zone in which cron is read.';
comment on column jobs.job_schedules.orgs is 'Whom it is for; null for all active orgs of the org directory.';
comment on column jobs.job_schedules.catch_up is 'What becomes of missed ticks: none, last or all.';
comment on column jobs.job_schedules.catch_up_limit is 'With catch_up all: at most so many of them.';
comment on column jobs.job_schedules.overlap is 'While the last job of an org is live: allow another, or skip that org.';
comment on column jobs.job_schedules.jitter is 'Longest delay of an org''s job after the tick, seconds.';
comment on column jobs.job_schedules.start_at is 'No tick lies before.';
comment on column jobs.job_schedules.end_at is 'No tick lies at or after.';
comment on column jobs.job_schedules.tick_as is 'The field of the data that receives the tick.';
comment on column jobs.job_schedules.priority is 'Of its jobs.';
comment on column jobs.job_schedules.max_attempts is 'Of its jobs; null for that of the type.';
comment on column jobs.job_schedules.enabled is 'False by its own definition: it does not fire in turn.';
comment on column jobs.job_schedules.paused is 'By an operator; survives deployments.';
comment on column jobs.job_schedules.next_tick is 'The first tick that was not fired; null when there is no more.';
comment on column jobs.job_schedules.last_tick is 'The last tick that was fired.';
comment on column jobs.job_schedules.fired is 'Ticks that were fired.';
comment on column jobs.job_schedules.missed is 'Ticks that were dropped.';
comment on column jobs.job_schedules.created_at is 'When it was first defined.';
comment on column jobs.job_schedules.updated_at is 'When its definition last changed.';
comment on table jobs.job_schedule_jobs is 'The last job of each org, of schedules with overlap skip.';
comment on column jobs.job_schedule_jobs.schedule is 'The schedule; rows go with it.';
comment on column jobs.job_schedule_jobs.org_id is 'The tenant.';
comment on column jobs.job_schedule_jobs.job_id is 'The last job; it may have ended.';
comment on column jobs.job_schedule_jobs.seen_at is
    'When the job was made, or was last seen to be live by the retention, which deletes the rows of others.';

-- --- reading -------------------------------------------------------------------------------------------

-- Every schedule with its state: the first that is true of paused, disabled, orphaned and ended, else active. Orphaned
-- is computed, never stored: code that nobody carries while nobody runs is active again with its next executor. The time
-- is that of the statement: a volatile clock keeps the view from being planned as a part of whoever reads it.
create or replace view jobs.all_schedules with (security_invoker = true) as
select s.id, s.name::text as name, s.owner, s.org_id::text as org_id, s.type::text as type,
    case
        when s.paused then 'paused'
        when not s.enabled then 'disabled'
        when s.owner <> '' and not exists (
            select from jobs.job_executors e
            where e.lease_until > statement_timestamp() and s.ref = any(e.schedules)) then 'orphaned'
        when s.next_tick is null then 'ended'
        else 'active'
    end as state,
    s.cron, s.every, s.zone, s.orgs::text[] as orgs, s.next_tick, s.last_tick, s.fired, s.missed, s.catch_up,
    s.catch_up_limit, s.overlap, s.jitter, s.start_at, s.end_at, s.tick_as, s.priority, s.max_attempts, s.enabled,
    s.paused, s.payload::json as payload, s.created_at, s.updated_at
from jobs.job_schedules s;

comment on view jobs.all_schedules is 'Schedules with their state, for people and tools.';

-- The schedules of code that some live executor carries, by job_schedules.ref.
create or replace function jobs.carried_schedules() returns setof text
language sql stable
set search_path = ''
as $$
    select distinct r from jobs.job_executors e, unnest(e.schedules) r where e.lease_until > statement_timestamp()
$$;

-- Active schedules whose tick has come: the first of every tenant before the second of any, longest waiting first. Those
-- of run time are read in the order of their index; those of code, which are nobody's, are looked up one by one from what
-- is carried, so that what nobody carries any more costs nothing. The limit of 1 keeps it so: a join was planned the other
-- way round on few schedules, and then read them all.
create or replace function jobs.schedules_due_v1(p_limit integer) returns setof jobs.job_schedules
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    return query
        select s.* from (
            select r.id, r.turn, r.next_tick from jobs.schedules_due_at_run_time(p_limit) r
            union all
            select s.id, 1, s.next_tick from jobs.carried_schedules() c(ref)
            cross join lateral (select s.* from jobs.job_schedules s where s.ref = c.ref limit 1) s
            where s.owner <> '' and s.enabled and not s.paused and s.next_tick <= jobs.clock()
            order by 2, 3, 1
            limit p_limit
        ) d
        cross join lateral (select s.* from jobs.job_schedules s where s.id = d.id limit 1) s
        order by d.turn, d.next_tick, d.id;
end
$$;

-- Up to p_limit schedules of run time that are due; turn is the place of each among those of its tenant. Only when more
-- are due than are asked for does the order matter, and are all of them looked at, in their index: 10,000 of one tenant
-- take 5 ms (PostgreSQL 18).
create or replace function jobs.schedules_due_at_run_time(p_limit integer)
returns table (id uuid, turn bigint, next_tick timestamptz)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_few constant boolean := (
        select count(*) <= p_limit
        from (
            select from jobs.job_schedules s
            where s.owner = '' and s.enabled and not s.paused and s.next_tick <= jobs.clock()
            limit p_limit + 1
        ) c);
begin
    if v_few then
        return query
            select s.id, 1::bigint, s.next_tick from jobs.job_schedules s
            where s.owner = '' and s.enabled and not s.paused and s.next_tick <= jobs.clock()
            order by s.next_tick, s.id
            limit p_limit;
        return;
    end if;
    return query
        with come as materialized (
            select s.id, s.org_id, s.next_tick from jobs.job_schedules s
            where s.owner = '' and s.enabled and not s.paused and s.next_tick <= jobs.clock()
            order by s.next_tick, s.id
        )
        select c.id, case when c.org_id is null then 1 else row_number() over line end, c.next_tick
        from come c
        window line as (partition by c.org_id order by c.next_tick, c.id)
        order by 2, 3, 1
        limit p_limit;
end
$$;

-- The first tick of active schedules that has not come.
create or replace function jobs.schedules_next_v1() returns timestamptz
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    return least(
        (
            select s.next_tick from jobs.job_schedules s
            where s.owner = '' and s.enabled and not s.paused and s.next_tick > jobs.clock()
            order by s.next_tick
            limit 1
        ),
        (
            select min(s.next_tick) from jobs.carried_schedules() c(ref)
            cross join lateral (select s.* from jobs.job_schedules s where s.ref = c.ref limit 1) s
            where s.owner <> '' and s.enabled and not s.paused and s.next_tick > jobs.clock()
        ));
end
$$;

-- --- retention -----------------------------------------------------------------------------------------

-- Looks at up to p_limit rows of job_schedule_jobs that nobody looked at for a day: rows of jobs that have ended go,
-- others are looked at again a day later, so that they never stand before the rest. A job that has ended without a
-- success may be redriven, and is then what the next tick has to skip for. Returns how many went.
create or replace function jobs.schedule_jobs_purge(p_limit integer) returns bigint
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
    v_live tid[];
    v_gone tid[];
begin
    -- By ctid, which stays while the row is locked: a join was planned the other way round on an empty table.
    select array_agg(j.ctid) filter (where k.stays), array_agg(j.ctid) filter (where k.stays is null)
    into v_live, v_gone
    from (
        select j.ctid, j.job_id from jobs.job_schedule_jobs j
        where j.seen_at <= jobs.clock() - interval '1 day'
        order by j.seen_at limit p_limit for update skip locked
    ) j
    left join lateral (
        select true as stays from jobs.jobs_queue q where q.id = j.job_id
        union all
        select true from jobs.job_runs r where r.job_id = j.job_id and r.status not in ('succeeded', 'duplicate')
        limit 1
    ) k on true;
    update jobs.job_schedule_jobs j set seen_at = jobs.clock() where j.ctid = any(v_live);
    delete from jobs.job_schedule_jobs j where j.ctid = any(v_gone);
    return coalesce(cardinality(v_gone), 0);
end
$$;

select jobs.close_to_strangers();
