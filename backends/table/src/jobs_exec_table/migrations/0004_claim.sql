-- The claim: fair over orgs at constant cost.
--
-- State is derived from the queue rows themselves: no counters to drift, no lock on an org at enqueue. A claim walks
-- the partial index jobs_queue_ready from org to org (a loose index scan), starting behind a cursor, and takes from
-- each org's line, the first of every org before the second of any.
--
-- Everything it calls is planned under the settings of jobs_claim_v1: plans made on an empty queue, where a
-- sequential scan looks cheap, once turned 4 ms into seconds.

do $$
begin
    -- What a claim answers, by kind: a 'job' that runs now, one that has 'ended' instead (status, duplicate_of), and first
    -- the 'position': status 'walked' when there may be more behind what was walked past, else 'empty'; org_id is the
    -- cursor, payload the foreign types as JSON, suspect whether one waits.
    create type jobs.claim_row_v1 as (
        kind text, id uuid, org_id text, type text, queue text, payload text, attempts smallint, max_attempts smallint,
        token bigint, priority smallint, created_at timestamptz, age double precision, identity text, run_hash bytea,
        expires_at timestamptz, trace text, suspect boolean, crashes smallint, status text, duplicate_of uuid);
    -- A job that was picked: org_n is its org's place in the ring, rank its place among those picked of that org.
    create type jobs.claim_choice as (
        id uuid, org_n bigint, rank bigint, priority smallint, seq bigint, bytes integer);
exception when duplicate_object then
    null;
end
$$;

-- Up to p_steps orgs with ready jobs in ring order behind p_cursor. Each step is one index probe.
create or replace function jobs.claim_ring(p_queue text, p_cursor text, p_steps integer) returns text[]
language sql stable
set search_path = ''
as $$
    with recursive ring(org_id, wrapped, n) as (
        select s.org_id, s.org_id <= p_cursor, 1
        from (
            select coalesce(
                (select q.org_id from jobs.jobs_queue q
                 where q.queue = p_queue and q.state = 'ready' and not q.suspect and q.org_id > p_cursor
                 order by q.org_id limit 1),
                (select q.org_id from jobs.jobs_queue q
                 where q.queue = p_queue and q.state = 'ready' and not q.suspect
                 order by q.org_id limit 1))::text collate "C" as org_id
            offset 0  -- evaluated once, not at each use
        ) s
        where s.org_id is not null
        union all
        select s.org_id, r.wrapped or s.org_id <= r.org_id, r.n + 1
        from ring r
        cross join lateral (
            select coalesce(
                (select q.org_id from jobs.jobs_queue q
                 where q.queue = p_queue and q.state = 'ready' and not q.suspect and q.org_id > r.org_id
                 order by q.org_id limit 1),
                (select q.org_id from jobs.jobs_queue q
                 where not r.wrapped and q.queue = p_queue and q.state = 'ready' and not q.suspect
                 order by q.org_id limit 1))::text collate "C" as org_id
            offset 0
        ) s
        where r.n < p_steps and s.org_id is not null
            -- The lap is over at the first org that lies behind the cursor again.
            and not ((r.wrapped or s.org_id <= r.org_id) and s.org_id > p_cursor)
    )
    select array_agg(r.org_id order by r.n) from ring r
$$;

-- Ready types of the queue that the caller does not carry; "about" tells that there are some or may be: it looks at 50
-- types, and answers so when there are more.
create or replace function jobs.claim_foreign(p_queue text, p_types text[], out types text[], out about boolean)
language sql stable
set search_path = ''
as $$
    with recursive present(type, n) as (
        select (select q.type from jobs.jobs_queue q where q.queue = p_queue and q.state = 'ready' and not q.suspect
                order by q.type limit 1)::text collate "C", 1
        union all
        select (select q.type from jobs.jobs_queue q
                where q.queue = p_queue and q.state = 'ready' and not q.suspect and q.type > p.type
                order by q.type limit 1)::text collate "C", p.n + 1
        from present p
        where p.type is not null and p.n < 50
    )
    select coalesce(array_agg(p.type) filter (where p.type <> all(p_types)), '{}'),
        coalesce(bool_or(p.type <> all(p_types) or p.n = 50), false)
    from present p
    where p.type is not null
$$;

-- Locks up to p_takes[n] jobs of p_orgs[n] behind p_after (priority, seq) of that org, best first. Answers ranks from
-- p_rank on. With foreign types about, at most 200 rows of an org are looked at behind p_after, and no more of them
-- than it takes to find enough: counting to the 200th row first read 200 rows of each org that had so many.
create or replace function jobs.claim_pick(
    p_queue text, p_types text[], p_orgs text[], p_takes integer[], p_after_priorities integer[],
    p_after_seqs bigint[], p_bounded boolean, p_rank integer
) returns table (id uuid, org_n bigint, rank bigint, priority smallint, seq bigint, bytes integer)
language sql volatile
set search_path = ''
as $$
    select j.id, t.n, p_rank + row_number() over (partition by t.n order by j.priority, j.seq),
        j.priority, j.seq, j.bytes
    from unnest(p_orgs, p_takes, p_after_priorities, p_after_seqs) with ordinality
        as t(org_id, take, after_priority, after_seq, n)
    cross join lateral (
        select * from (
            select q.id, q.priority, q.seq, octet_length(q.payload::text) as bytes
            from jobs.jobs_queue q
            where not p_bounded and q.queue = p_queue and q.state = 'ready' and not q.suspect and q.org_id = t.org_id
                and (q.priority, q.seq) > (t.after_priority, t.after_seq)
                and q.type = any(p_types)
            order by q.priority, q.seq
            limit t.take
            for update skip locked
        ) free
        union all
        -- The window is read without locks, so that the jobs of others in it stay free for them.
        (select q.id, q.priority, q.seq, octet_length(q.payload::text)
         from (
             select f.id, f.type from jobs.jobs_queue f
             where p_bounded and f.queue = p_queue and f.state = 'ready' and not f.suspect and f.org_id = t.org_id
                 and (f.priority, f.seq) > (t.after_priority, t.after_seq)
             order by f.priority, f.seq
             limit 200
         ) w
         cross join lateral (
             select l.id, l.priority, l.seq, l.payload from jobs.jobs_queue l
             where l.id = w.id and l.state = 'ready' and not l.suspect
             for update skip locked
         ) q
         where w.type = any(p_types)
         limit t.take)
    ) j
$$;

-- Starts the locked jobs p_ids for p_executor: attempt counted, new token. Those that may not start end instead:
-- past their expiry, or work that has been done meanwhile (kind 'ended').
create or replace function jobs.claim_start(p_executor uuid, p_ids uuid[], p_retention double precision)
returns setof jobs.claim_row_v1
language plpgsql volatile
set search_path = ''
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := jobs.clock();
    v_ended uuid[];
    v_statuses text[];
    v_ofs uuid[];
begin
    select array_agg(e.id), array_agg(e.status), array_agg(e.of) into v_ended, v_statuses, v_ofs
    from (
        select q.id, case when q.expires_at <= v_now then 'expired' else 'duplicate' end as status,
            case when q.expires_at <= v_now then null else k.job_id end as of
        from jobs.jobs_queue q
        left join lateral (
            select d.job_id from jobs.job_keys d where d.digest = q.digest and d.expires_at > v_now limit 1
        ) k on q.identity <> 'none'
        where q.id = any(p_ids) and (q.expires_at <= v_now or k.job_id is not null)
    ) e;
    if v_ended is not null then
        return query
            select 'ended', q.id, q.org_id::text, q.type::text, q.queue::text, null::text, q.attempts,
                q.max_attempts, q.token, q.priority, q.created_at, 0::double precision, q.identity::text,
                q.run_hash::bytea, q.expires_at, q.trace, q.suspect, q.crashes, u.status, u.of
            from jobs.jobs_queue q
            cross join lateral (select v_statuses[n], v_ofs[n] from array_position(v_ended, q.id) n) as u(status, of)
            where q.id = any(v_ended);
        perform jobs.jobs_end_v1(v_ended, v_statuses, p_retention,
            array(select case s when 'expired' then 'expires_at' end from unnest(v_statuses) s), p_ofs => v_ofs);
    end if;
    return query
        with started as (
            update jobs.jobs_queue q
            set state = 'running', attempts = (q.attempts + 1)::smallint, token = q.token + 1, executor = p_executor,
                started_at = v_now, first_claimed_at = coalesce(q.first_claimed_at, v_now)
            where q.id = any(p_ids) and (v_ended is null or q.id <> all(v_ended))
            returning array_position(p_ids, q.id) as n, q.*
        )
        select 'job', s.id, s.org_id::text, s.type::text, s.queue::text, s.payload::text, s.attempts, s.max_attempts,
            s.token, s.priority, s.created_at,
            greatest(extract(epoch from v_now - s.first_due) - s.held_seconds, 0)::double precision,
            s.identity::text, s.run_hash::bytea, s.expires_at, s.trace, s.suspect, s.crashes, null::text, null::uuid
        from started s
        order by s.n;
end
$$;

-- True for an executor with a live lease, which stays until the claim commits. The lock does not conflict with the
-- heartbeat's update; it waits for a reaper, and then sees that the row is gone.
create or replace function jobs.claim_lease(p_executor uuid) returns boolean
language plpgsql volatile
set search_path = ''
as $$
begin
    perform from jobs.job_executors e
    where e.id = p_executor and e.lease_until > clock_timestamp()
    for key share;
    return found;
end
$$;

-- Up to p_limit ready jobs of p_queue for an executor with a live lease.
--
-- p_busy_orgs are the orgs that hold jobs of this executor already, p_busy how many.
create or replace function jobs.jobs_claim_v1(
    p_executor uuid, p_queue text, p_types text[], p_limit integer, p_max_bytes bigint, p_cursor text,
    p_org_slots integer, p_busy_orgs text[], p_busy integer[], p_retention double precision
) returns setof jobs.claim_row_v1
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
#variable_conflict use_column
declare
    v_cursor text := p_cursor;
    v_steps constant integer := p_limit + cardinality(p_busy_orgs);
    v_ring text[];
    v_orgs text[];
    v_rooms integer[];
    v_foreign text[] := '{}';
    v_bounded boolean;
    v_whole boolean;
    v_ids uuid[];
    v_short boolean := false;
    v_answer jobs.claim_row_v1;
begin
    if v_cursor = '' then
        v_cursor := coalesce((select c.cursor from jobs.job_cursors c where c.queue = p_queue), '');
    end if;
    v_answer.kind := 'position';
    v_answer.suspect := exists (
        select from jobs.jobs_queue q where q.queue = p_queue and q.state = 'ready' and q.suspect);
    v_ring := jobs.claim_ring(p_queue, v_cursor, v_steps);
    if v_ring is not null then
        -- Not taken when nothing is ready: a row lock is a write, and an idle poll would wait for the disk at its commit.
        if not jobs.claim_lease(p_executor) then
            return;
        end if;
        select f.types, f.about into v_foreign, v_bounded from jobs.claim_foreign(p_queue, p_types) f;
        -- An org that holds its share of slots already is walked past. More than p_limit orgs cannot be served: a job of
        -- one that was locked and then left would be missing in the claim of somebody else.
        select array_agg(o.org_id order by o.n), array_agg(o.room order by o.n) into v_orgs, v_rooms
        from (
            select r.org_id, r.n, room
            from unnest(v_ring) with ordinality as r(org_id, n)
            cross join lateral coalesce(p_org_slots - p_busy[array_position(p_busy_orgs, r.org_id)], p_org_slots) room
            where room > 0
            order by r.n
            limit p_limit
        ) o;
        v_whole := cardinality(v_ring) < v_steps and coalesce(cardinality(v_orgs), 0) < p_limit;
        v_short := not v_whole or cardinality(v_ring) > coalesce(cardinality(v_orgs), 0) or v_bounded;
        v_cursor := coalesce(v_orgs[p_limit], v_ring[cardinality(v_ring)]);
        if v_orgs is not null then
            select p.ids, coalesce(p.last_org, v_cursor), v_short or p.short into v_ids, v_cursor, v_short
            from jobs.claim_rounds(p_queue, p_types, v_orgs, v_rooms, p_limit, p_max_bytes, v_bounded, v_whole) p;
        end if;
    end if;
    v_answer.org_id := v_cursor;
    v_answer.payload := array_to_json(v_foreign)::text;
    v_answer.status := case when v_short then 'walked' else 'empty' end;
    return next v_answer;
    if v_ids is not null then
        return query select * from jobs.claim_start(p_executor, v_ids, p_retention);
    end if;
end
$$;

-- Picks by round: an even part of the batch from every org, and where some orgs had less than their part, once more
-- from those that may have more. ids come in the order of the rounds. last_org is set when the batch is full, in jobs
-- or in bytes: the last org *served*, because the last one *seen* would skip the orgs behind a heavy one every lap.
create or replace function jobs.claim_rounds(
    p_queue text, p_types text[], p_orgs text[], p_rooms integer[], p_limit integer, p_max_bytes bigint,
    p_bounded boolean, p_whole_ring boolean, out ids uuid[], out last_org text, out short boolean
)
language plpgsql volatile
set search_path = ''
as $$
declare
    v_part constant integer := ceil(p_limit::numeric / cardinality(p_orgs));
    v_takes integer[] := array(select least(r, v_part) from unnest(p_rooms) with ordinality u(r, n) order by n);
    v_picks jobs.claim_choice[];
    v_more bigint[];
    v_left integer;
    v_cut boolean;
begin
    v_picks := array(
        select row(p.id, p.org_n, p.rank, p.priority, p.seq, p.bytes)::jobs.claim_choice
        from jobs.claim_pick(p_queue, p_types, p_orgs, v_takes, array_fill(-1, array[cardinality(p_orgs)]),
                             array_fill(-1::bigint, array[cardinality(p_orgs)]), p_bounded, 0) p);
    -- Orgs whose part was filled may have more.
    v_more := array(select p.org_n from unnest(v_picks) p group by p.org_n having count(*) = v_takes[p.org_n]);
    short := v_more <> '{}';
    v_left := p_limit - cardinality(v_picks);
    v_more := array(select m from unnest(v_more) m where p_rooms[m] > v_takes[m]);
    if v_left > 0 and p_whole_ring and v_more <> '{}' then
        v_picks := v_picks || jobs.claim_second_round(
            p_queue, p_types, p_orgs, p_rooms, v_takes, v_more, v_left, p_bounded, v_picks);
    end if;
    select array_agg(c.id order by c.rank, c.org_n),
        (array_agg(p_orgs[c.org_n] order by c.rank desc, c.org_n desc))[1], bool_or(c.cut)
    into ids, last_org, v_cut
    from (
        select o.id, o.rank, o.org_n, o.position <= p_limit and (o.bytes <= p_max_bytes or o.position = 1) as taken,
            bool_or(o.position > p_limit or (o.bytes > p_max_bytes and o.position > 1)) over () as cut
        from (
            select p.id, p.rank, p.org_n, row_number() over w as position, sum(p.bytes) over w as bytes
            from unnest(v_picks) p
            window w as (order by p.rank, p.org_n)
        ) o
    ) c
    where c.taken;
    v_cut := coalesce(v_cut, false);
    short := short or v_cut;
    if cardinality(ids) < p_limit and not v_cut then
        last_org := null;
    end if;
end
$$;

-- What is left of the batch, evenly from the orgs p_more, behind what the first round took of them.
create or replace function jobs.claim_second_round(
    p_queue text, p_types text[], p_orgs text[], p_rooms integer[], p_takes integer[], p_more bigint[],
    p_left integer, p_bounded boolean, p_picks jobs.claim_choice[]
) returns jobs.claim_choice[]
language sql volatile
set search_path = ''
as $$
    with last as (
        select distinct on (p.org_n) p.org_n, p.priority, p.seq, p.rank
        from unnest(p_picks) p
        where p.org_n = any(p_more)
        order by p.org_n, p.rank desc
    ),
    asked as (
        select array_agg(l.org_n order by l.org_n) as org_ns,
            array_agg(p_orgs[l.org_n] order by l.org_n) as orgs,
            array_agg(least(p_rooms[l.org_n] - p_takes[l.org_n],
                            ceil(p_left::numeric / cardinality(p_more))::integer) order by l.org_n) as takes,
            array_agg(l.priority::integer order by l.org_n) as priorities,
            array_agg(l.seq order by l.org_n) as seqs,
            array_agg(l.rank order by l.org_n) as ranks
        from last l
    )
    select array(
        select row(p.id, a.org_ns[p.org_n], a.ranks[p.org_n] + p.rank, p.priority, p.seq, p.bytes)::jobs.claim_choice
        from asked a
        cross join lateral jobs.claim_pick(
            p_queue, p_types, a.orgs, a.takes, a.priorities, a.seqs, p_bounded, 0) p)
$$;

-- One suspect (a job that was running when its executor was lost), the one that waits longest. It runs with nothing
-- started beside it, so fairness is a matter of the few that there are.
create or replace function jobs.jobs_claim_suspect_v1(
    p_executor uuid, p_queue text, p_types text[], p_retention double precision
) returns setof jobs.claim_row_v1
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_id uuid;
begin
    if jobs.claim_lease(p_executor) then
        select q.id into v_id from jobs.jobs_queue q
        where q.queue = p_queue and q.state = 'ready' and q.suspect and q.type = any(p_types)
        order by q.seq limit 1
        for update skip locked;
    end if;
    if v_id is not null then
        return query select * from jobs.claim_start(p_executor, array[v_id], p_retention);
    end if;
end
$$;

select jobs.close_to_strangers();
