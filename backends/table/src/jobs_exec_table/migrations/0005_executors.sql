-- Executors that come, stay alive and go, and what becomes of the jobs of those that are gone.

-- Announces an executor, its types and its schedules; the later announcement of a type wins.
create or replace function jobs.executor_join_v1(
    p_id uuid, p_name text, p_lease double precision, p_queues text[], p_types text[], p_type_queues text[],
    p_type_identities text[], p_type_max_attempts smallint[], p_schedules text[]
) returns void
language sql volatile
set search_path = ''
as $$
    insert into jobs.job_types (name, queue, identity, max_attempts, last_seen)
    select t.name, t.queue, t.identity::jobs.identity_mode, t.max_attempts, jobs.clock()
    from unnest(p_types, p_type_queues, p_type_identities, p_type_max_attempts) as t(name, queue, identity, max_attempts)
    order by t.name
    on conflict (name) do update
        set queue = excluded.queue, identity = excluded.identity, max_attempts = excluded.max_attempts,
            last_seen = excluded.last_seen;
    insert into jobs.job_executors (id, name, lease_seconds, lease_until, queues, types, schedules)
    values (p_id, p_name, p_lease, clock_timestamp() + p_lease * interval '1 second', p_queues, p_types,
            p_schedules)
    on conflict (id) do update
        set lease_until = excluded.lease_until, lapsed_at = null, queues = excluded.queues, types = excluded.types,
            schedules = excluded.schedules;
$$;

-- Renews a lease, also a lapsed one; false when the executor has been removed.
create or replace function jobs.executor_heartbeat_v1(p_id uuid) returns boolean
language sql volatile
set search_path = ''
as $$
    with renewed as (
        update jobs.job_executors
        set lease_until = clock_timestamp() + lease_seconds * interval '1 second', lapsed_at = null
        where id = p_id
        returning 1
    )
    select exists (select from renewed)
$$;

-- Gives back running jobs that the caller has locked, nothing counted.
create or replace function jobs.executor_returns(p_jobs uuid[]) returns void
language sql volatile
set search_path = ''
as $$
    update jobs.jobs_queue q
    set state = 'ready', token = q.token + 1, attempts = q.attempts - 1, executor = null, started_at = null,
        run_at = jobs.clock()
    where q.id = any(p_jobs)
$$;

-- Gives back up to p_limit running jobs of an executor that leaves, nothing counted, and removes it when none is left.
create or replace function jobs.executor_leave_v1(p_id uuid, p_limit integer) returns boolean
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
    v_jobs uuid[];
begin
    perform from jobs.job_executors e where e.id = p_id for update;
    v_jobs := array(
        select r.id from jobs.jobs_queue r
        where r.executor = p_id and r.state = 'running'
        limit p_limit
        for update skip locked);
    perform jobs.executor_returns(v_jobs);
    delete from jobs.job_executors e
    where e.id = p_id and not exists (
        select from jobs.jobs_queue q where q.executor = p_id and q.state = 'running');
    return found;
end
$$;

-- Gives back the running jobs of an executor whose attempts (id, token) are not among those it knows of: a claim's reply
-- was lost. A claim that is still being carried out holds KEY SHARE on the executor's row, which FOR UPDATE waits out;
-- the jobs are read in a later statement, with a snapshot that sees them.
create or replace function jobs.executor_forget_v1(p_id uuid, p_known uuid[], p_tokens bigint[]) returns bigint
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
    v_jobs uuid[];
begin
    perform from jobs.job_executors e where e.id = p_id for update;
    v_jobs := array(
        select r.id from jobs.jobs_queue r
        where r.executor = p_id and r.state = 'running'
            and not exists (
                select from unnest(p_known, p_tokens) k(id, token) where k.id = r.id and k.token = r.token)
        for update skip locked);
    perform jobs.executor_returns(v_jobs);
    return cardinality(v_jobs);
end
$$;

-- Types that some executor carries. Lapsed ones count: after an outage of the database everybody has lapsed.
create or replace function jobs.carried_types() returns text[]
language sql stable
set search_path = ''
as $$
    select coalesce(array_agg(distinct t), '{}') from jobs.job_executors e, unnest(e.types) t
$$;

-- Takes jobs back from executors that are gone, in two steps: whoever finds a lapsed lease stamps it, anyone may reap
-- once the stamp is a full lease old. The jobs are read in a later statement than the executor's row is locked in:
-- in one statement, with one snapshot, a claim that commits meanwhile would be missed.
create or replace function jobs.jobs_rescue_v1(
    p_limit integer, p_max_crashes integer, p_retention double precision,
    out returned bigint, out dead bigint, out lapsed bigint, out lost bigint, out more boolean
)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
    v_gone uuid[];
    v_jobs uuid[];
    v_dead uuid[];
begin
    update jobs.job_executors e set lapsed_at = clock_timestamp()
    where e.id in (
        select s.id from jobs.job_executors s
        where s.lease_until < clock_timestamp() and s.lapsed_at is null
        for update skip locked);
    get diagnostics lapsed = row_count;
    v_gone := array(
        select e.id from jobs.job_executors e
        where e.lapsed_at <= clock_timestamp() - e.lease_seconds * interval '1 second'
            and e.lease_until < clock_timestamp()
        for update skip locked);
    v_gone := v_gone || jobs.missing_executors(1000);
    v_jobs := array(
        select r.id from unnest(v_gone) g
        cross join lateral (
            select q.id from jobs.jobs_queue q
            where q.state = 'running' and q.executor = g
            limit p_limit
            for update skip locked
        ) r
        limit p_limit);
    update jobs.jobs_queue q set crashes = q.crashes + 1 where q.id = any(v_jobs) and q.suspect;
    v_dead := array(
        select q.id from jobs.jobs_queue q
        where q.id = any(v_jobs) and q.suspect and (q.crashes >= p_max_crashes or q.attempts >= q.max_attempts));
    dead := jobs.jobs_end_v1(v_dead, array_fill('dead'::text, array[cardinality(v_dead)]), p_retention,
                             array_fill('crashed'::text, array[cardinality(v_dead)]));
    update jobs.jobs_queue q
    set state = 'ready', token = q.token + 1, executor = null, started_at = null, run_at = jobs.clock(),
        attempts = q.attempts - case when q.suspect then 0 else 1 end, suspect = true
    where q.id = any(v_jobs) and q.id <> all(v_dead);
    returned := cardinality(v_jobs) - dead;
    delete from jobs.job_executors e
    where e.id = any(v_gone) and not exists (
        select from jobs.jobs_queue q where q.executor = e.id and q.state = 'running');
    get diagnostics lost = row_count;
    more := cardinality(v_jobs) >= p_limit;
end
$$;

-- Owners of running jobs that have no row: a loose scan of jobs_queue_running.
create or replace function jobs.missing_executors(p_limit integer) returns uuid[]
language sql stable
set search_path = ''
as $$
    with recursive owners(executor, n) as (
        select (select q.executor from jobs.jobs_queue q where q.state = 'running' order by q.executor limit 1), 1
        union all
        select (select q.executor from jobs.jobs_queue q
                where q.state = 'running' and q.executor > o.executor order by q.executor limit 1), o.n + 1
        from owners o
        where o.executor is not null and o.n < p_limit
    )
    select coalesce(array_agg(o.executor), '{}') from owners o
    where o.executor is not null and not exists (select from jobs.job_executors e where e.id = o.executor)
$$;

select jobs.close_to_strangers();
