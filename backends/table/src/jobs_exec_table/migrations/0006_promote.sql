-- What moves jobs without running them: promotion, expiry, holding and release.
--
-- Every function works in bounded batches and skips what somebody else has locked, so any number of executors may
-- call them at once, and none must. Each chooses ids first, from the index made for it, and then writes by
-- "id = any(...)": that cannot be planned the other way round. Where two indexes could serve, a row is compared as a
-- whole and the order names every column of the right one: an equality would let the planner drop that column from
-- the order and read the other index.

-- Ends scheduled and held jobs that are past their expiry.
create or replace function jobs.promote_expired(p_limit integer, p_retention double precision) returns bigint
language plpgsql volatile
set search_path = ''
as $$
declare
    v_ids uuid[];
begin
    select array_agg(e.id) into v_ids
    from (
        select q.id from jobs.jobs_queue q
        where q.expires_at is not null and q.state in ('scheduled', 'held') and q.expires_at <= jobs.clock()
        order by q.expires_at limit p_limit
        for update skip locked
    ) e;
    if v_ids is null then
        return 0;
    end if;
    return jobs.jobs_end_v1(v_ids, array_fill('expired'::text, array[cardinality(v_ids)]), p_retention,
                            array_fill('expires_at'::text, array[cardinality(v_ids)]));
end
$$;

-- Lets held jobs go that nothing holds any more: of orgs that are active again, of types that somebody carries, an even
-- part of the batch to each. Answers behind which org to look next for types, null when all have been seen, and more
-- when somebody's part was not enough.
create or replace function jobs.promote_released(
    p_limit integer, p_active text[], p_carried text[], p_from text,
    out released bigint, out next_from text, out more boolean
)
language plpgsql volatile
set search_path = ''
as $$
declare
    v_orgs text[];
    v_types text[];
    v_part integer;
    v_ids uuid[];
begin
    select array_agg(o.org_id) filter (where o.type = any(p_carried)),
        array_agg(o.type) filter (where o.type = any(p_carried)),
        -- The last org may have more types; a lone one that has so many is left behind.
        case when count(*) >= 1000 then max(o.org_id collate "C")
            || case when max(o.org_id) = min(o.org_id) then U&'\0001' else '' end end
    into v_orgs, v_types, next_from
    from jobs.held_types(p_from, 1000) o;
    v_part := ceil(p_limit::numeric / greatest(cardinality(p_active) + coalesce(cardinality(v_types), 0), 1));
    select array_agg(h.id), coalesce(bool_or(h.nth = v_part), false) into v_ids, more
    from (
        select 'org' as reason, a as org_id, null as type from unnest(p_active) a
        union all
        select 'type', t.org_id, t.type from unnest(v_orgs, v_types) as t(org_id, type)
    ) f
    cross join lateral (
        select l.id, row_number() over () as nth
        from (
            select q.id from jobs.jobs_queue q
            where q.state = 'held' and (q.reason, q.org_id) between (f.reason, f.org_id) and (f.reason, f.org_id)
                and (f.type is null or q.type = f.type)
            order by q.reason, q.org_id limit v_part
            for update skip locked
        ) l
    ) h;
    update jobs.jobs_queue q
    set state = case when q.run_at <= jobs.clock() then 'ready' else 'scheduled' end::jobs.job_state,
        held_seconds = q.held_seconds
            + greatest(extract(epoch from jobs.clock() - greatest(q.held_since, q.first_due)), 0),
        held_since = null, reason = null,
        queue = coalesce((select t.queue from jobs.job_types t where t.name = q.type), q.queue)
    where q.id = any(v_ids);
    released := coalesce(cardinality(v_ids), 0);
end
$$;

-- The (org, type) pairs with jobs held for want of an executor, from p_from on: a loose scan of jobs_queue_held.
create or replace function jobs.held_types(p_from text, p_limit integer) returns table (org_id text, type text)
language sql stable
set search_path = ''
as $$
    with recursive pairs(org_id, type, n) as (
        (select q.org_id::text collate "C", q.type::text collate "C", 1 from jobs.jobs_queue q
         where q.state = 'held' and (q.reason, q.org_id) >= ('type', p_from) and q.reason = 'type'
         order by q.reason, q.org_id, q.type limit 1)
        union all
        select s.org_id, s.type, p.n + 1
        from pairs p
        cross join lateral (
            select q.org_id::text collate "C" as org_id, q.type::text collate "C" as type from jobs.jobs_queue q
            where q.state = 'held' and q.reason = 'type' and (q.org_id, q.type) > (p.org_id, p.type)
            order by q.reason, q.org_id, q.type limit 1
        ) s
        where p.n < p_limit
    )
    select p.org_id, p.type from pairs p
$$;

-- The (queue, type) pairs with ready jobs: a loose scan of jobs_queue_ready_types, at most 500 pairs.
create or replace function jobs.ready_types() returns table (queue text, type text)
language sql stable
set search_path = ''
as $$
    with recursive pairs(queue, type, n) as (
        (select q.queue::text, q.type::text, 1 from jobs.jobs_queue q where q.state = 'ready' and not q.suspect
         order by q.queue, q.type limit 1)
        union all
        select s.queue, s.type, p.n + 1
        from pairs p
        cross join lateral (
            select q.queue::text, q.type::text from jobs.jobs_queue q
            where q.state = 'ready' and not q.suspect and (q.queue, q.type) > (p.queue, p.type)
            order by q.queue, q.type limit 1
        ) s
        where p.n < 500
    )
    select p.queue, p.type from pairs p
$$;

-- Moves ready jobs to held whose type nobody carries, or whose org is suspended, an even part of the batch for each.
create or replace function jobs.promote_held(
    p_limit integer, p_suspended text[], p_carried text[], out held bigint, out more boolean
)
language plpgsql volatile
set search_path = ''
as $$
declare
    v_type_ids uuid[];
    v_org_ids uuid[];
begin
    v_type_ids := array(
        select r.id
        from (select p.queue, p.type, count(*) over () as n from jobs.ready_types() p where p.type <> all(p_carried)) f
        cross join lateral (
            select q.id from jobs.jobs_queue q
            where (q.queue, q.type) between (f.queue, f.type) and (f.queue, f.type)
                and q.state = 'ready' and not q.suspect
            order by q.queue, q.type limit ceil(p_limit::numeric / f.n)::integer
            for update skip locked
        ) r);
    v_org_ids := array(
        select r.id
        from (
            select p.queue, o.org_id, count(*) over () as n
            from (select distinct t.queue from jobs.ready_types() t) p
            cross join unnest(p_suspended) as o(org_id)
            where (select true from jobs.jobs_queue q
                   where q.queue = p.queue and q.org_id = o.org_id and q.state = 'ready' and not q.suspect
                   order by q.priority, q.seq limit 1)
        ) f
        cross join lateral (
            select q.id from jobs.jobs_queue q
            where q.queue = f.queue and q.org_id = f.org_id and q.state = 'ready' and not q.suspect
            order by q.priority, q.seq limit ceil(p_limit::numeric / f.n)::integer
            for update skip locked
        ) r);
    update jobs.jobs_queue q
    set state = 'held', held_since = jobs.clock(),
        reason = case when q.id = any(v_type_ids) then 'type' else 'org' end
    where q.id = any(v_type_ids || v_org_ids);
    get diagnostics held = row_count;
    -- Somebody's part may not have been enough; a pass that finds nothing costs little.
    more := held > 0;
end
$$;

-- Moves ready jobs to the queue that their type belongs to now. Scheduled and held ones follow when they move.
create or replace function jobs.promote_rerouted(p_limit integer) returns bigint
language plpgsql volatile
set search_path = ''
as $$
declare
    v_ids constant uuid[] := array(
        select q.id
        from jobs.ready_types() p
        join jobs.job_types t on t.name = p.type and t.queue <> p.queue
        cross join lateral (
            select q.id from jobs.jobs_queue q
            where (q.queue, q.type) between (p.queue, p.type) and (p.queue, p.type)
                and q.state = 'ready' and not q.suspect
            order by q.queue, q.type limit p_limit
            for update skip locked
        ) q
        limit p_limit);
begin
    update jobs.jobs_queue q set queue = t.queue
    from jobs.job_types t
    where q.id = any(v_ids) and t.name = q.type;
    return cardinality(v_ids);
end
$$;

-- Orgs with scheduled jobs behind p_after, up to p_upto when it is given: at most p_steps index probes. due tells
-- whether the first of them is due.
create or replace function jobs.promote_ring(p_after text, p_upto text, p_steps integer)
returns table (org_id text, n integer, due boolean)
language sql stable
set search_path = ''
as $$
    with recursive ring(org_id, due, n) as (
        (select q.org_id::text collate "C", q.run_at <= jobs.clock(), 1 from jobs.jobs_queue q
         where q.state = 'scheduled' and q.org_id > p_after and p_steps > 0
         order by q.org_id, q.run_at limit 1)
        union all
        select s.org_id, s.due, r.n + 1
        from ring r
        cross join lateral (
            select q.org_id::text collate "C" as org_id, q.run_at <= jobs.clock() as due from jobs.jobs_queue q
            where q.state = 'scheduled' and q.org_id > r.org_id
            order by q.org_id, q.run_at limit 1
        ) s
        where r.n < p_steps and (p_upto is null or s.org_id <= p_upto)
    )
    select r.org_id, r.n, r.due from ring r where p_upto is null or r.org_id <= p_upto
$$;

-- Which due jobs to move: all of them when they are few, else the first due of every org before the second of any, going
-- on behind p_cursor: the last org served, or when the batch is not full the last one seen.
create or replace function jobs.promote_choice(
    p_limit integer, p_cursor text, out ids uuid[], out more boolean, out cursor text
)
language plpgsql volatile
set search_path = ''
as $$
declare
    v_steps constant integer := 2000;
    v_orgs text[];
    v_due boolean[];
begin
    cursor := p_cursor;
    more := p_limit < (
        select count(*) from (
            select from jobs.jobs_queue q
            where q.state = 'scheduled' and q.run_at <= jobs.clock()
            order by q.run_at limit p_limit + 1) d);
    if not more then
        ids := array(
            select q.id from jobs.jobs_queue q
            where q.state = 'scheduled' and q.run_at <= jobs.clock()
            order by q.run_at limit p_limit
            for update skip locked);
        return;
    end if;
    select array_agg(r.org_id order by r.n), array_agg(r.due order by r.n) into v_orgs, v_due
    from jobs.promote_ring(p_cursor, null, v_steps) r;
    select v_orgs || array_agg(r.org_id order by r.n), v_due || array_agg(r.due order by r.n) into v_orgs, v_due
    from jobs.promote_ring('', p_cursor, v_steps - coalesce(cardinality(v_orgs), 0)) r;
    cursor := coalesce(v_orgs[cardinality(v_orgs)], '');
    v_orgs := array(select o.org_id from unnest(v_orgs, v_due) with ordinality as o(org_id, due, n)
                    where o.due order by o.n);
    select array_agg(c.id),
        coalesce(case when count(*) >= p_limit then (array_agg(c.org_id order by c.rank desc, c.n desc))[1] end, cursor)
    into ids, cursor
    from (
        select j.id, o.org_id, row_number() over (partition by o.n order by j.run_at, j.seq) as rank, o.n
        from unnest(v_orgs) with ordinality as o(org_id, n)
        cross join lateral (
            select q.id, q.run_at, q.seq from jobs.jobs_queue q
            where q.state = 'scheduled'
                and (q.org_id, q.run_at) between (o.org_id, '-infinity') and (o.org_id, jobs.clock())
            order by q.org_id, q.run_at limit ceil(p_limit::numeric / nullif(cardinality(v_orgs), 0))::integer
            for update skip locked
        ) j
        order by rank, o.n
        limit p_limit
    ) c;
end
$$;

-- One pass of upkeep on the queue. p_suspended and p_active are what the org directory said about held orgs. Two rings
-- go on from where the last pass left them: p_cursor that of orgs with due jobs, p_held_cursor that of orgs with held ones.
create or replace function jobs.jobs_promote_v1(
    p_limit integer, p_cursor text, p_held_cursor text, p_suspended text[], p_active text[],
    p_retention double precision,
    out ready bigint, out expired bigint, out held bigint, out released bigint, out queues text[],
    out held_orgs text[], out more boolean, out cursor text, out held_cursor text
)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
declare
    v_carried constant text[] := jobs.carried_types();
    v_choice record;
    v_released record;
    v_hold record;
    v_rerouted bigint;
    v_held bigint;
begin
    expired := jobs.promote_expired(p_limit, p_retention);
    select * into v_released from jobs.promote_released(p_limit, p_active, v_carried, p_held_cursor);
    v_rerouted := jobs.promote_rerouted(p_limit);
    select * into v_hold from jobs.promote_held(p_limit, p_suspended, v_carried);
    select * into v_choice from jobs.promote_choice(p_limit, p_cursor);
    cursor := v_choice.cursor;
    with moved as (
        update jobs.jobs_queue q
        set queue = coalesce((select t.queue from jobs.job_types t where t.name = q.type), q.queue),
            (state, reason, held_since) = (
                select case when h.reason is null then 'ready' else 'held' end::jobs.job_state, h.reason,
                    case when h.reason is not null then jobs.clock() end
                from (
                    select case
                        when q.type <> all(v_carried) then 'type'
                        when q.org_id = any(p_suspended) then 'org' end as reason
                ) h
            )
        where q.id = any(v_choice.ids)
        returning q.state, q.queue
    )
    select count(*) filter (where m.state = 'ready'), count(*) filter (where m.state = 'held'),
        array_agg(distinct m.queue::text) filter (where m.state = 'ready')
    into ready, v_held, queues
    from moved m;
    released := v_released.released;
    held := v_hold.held + v_held;
    more := v_choice.more or v_released.more or v_hold.more or greatest(expired, v_rerouted) >= p_limit;
    queues := coalesce(queues, '{}');
    held_orgs := jobs.held_orgs(p_held_cursor, 1000);
    -- As far as both walks over held jobs have come; from the first org again when both saw the last one.
    held_cursor := coalesce(
        least(v_released.next_from collate "C", case when cardinality(held_orgs) >= 1000 then held_orgs[1000] end), '');
end
$$;

-- Orgs that have jobs held for them, from p_from on, at most p_limit: a loose scan of jobs_queue_held.
create or replace function jobs.held_orgs(p_from text, p_limit integer) returns text[]
language sql stable
set search_path = ''
as $$
    with recursive orgs(org_id, n) as (
        select (select q.org_id from jobs.jobs_queue q
                where q.state = 'held' and (q.reason, q.org_id) >= ('org', p_from) and q.reason = 'org'
                order by q.reason, q.org_id limit 1)::text collate "C", 1
        union all
        select (select q.org_id from jobs.jobs_queue q where q.state = 'held' and q.reason = 'org'
                and q.org_id > o.org_id order by q.reason, q.org_id limit 1)::text collate "C", o.n + 1
        from orgs o
        where o.org_id is not null and o.n < p_limit
    )
    select coalesce(array_agg(o.org_id order by o.n), '{}') from orgs o where o.org_id is not null
$$;

select jobs.close_to_strangers();
