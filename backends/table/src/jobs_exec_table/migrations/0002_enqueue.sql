-- Enqueueing: one statement for a batch, in its own transaction or in the caller's.
--
-- It inserts with DO NOTHING and then reads, so it takes locks only on its own identities, sorted, and touches an
-- existing row only to move an unattempted scheduled job forward. It answers only about jobs that repeat something:
-- whatever is not mentioned was created.

create or replace function jobs.jobs_enqueue_v1(
    p_ids uuid[], p_orgs text[], p_types text[], p_queues text[], p_payloads text[], p_identities text[],
    p_hashes bytea[], p_payload_digests uuid[], p_max_attempts smallint[], p_priorities smallint[],
    p_run_ats timestamptz[], p_delays double precision[], p_expires_ats timestamptz[], p_traces text[]
) returns table (n bigint, id uuid, of_state text, advanced boolean, conflict boolean)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := jobs.clock();
    v_open bigint[] := array(select generate_series(1, cardinality(p_ids)));
    v_created uuid[];
    v_moved uuid[];
begin
    for v_try in 1..20 loop
        -- seq is taken in input order, before the sort: jobs of an org keep the order of the batch.
        with given as materialized (
            select u.*, nextval('jobs.jobs_queue_seq') as seq,
                encode(substring(u.run_hash from 1 for 16), 'hex')::uuid as digest,
                coalesce(u.run_at, v_now + coalesce(u.delay, 0) * interval '1 second') as due
            from unnest(p_ids, p_orgs, p_types, p_queues, p_payloads, p_identities, p_hashes, p_payload_digests,
                        p_max_attempts, p_priorities, p_run_ats, p_delays, p_expires_ats, p_traces) with ordinality
                as u(id, org_id, type, queue, payload, identity, run_hash, payload_digest,
                     max_attempts, priority, run_at, delay, expires_at, trace, n)
            where u.n = any(v_open)
        ),
        created as (
            insert into jobs.jobs_queue (seq, id, org_id, type, queue, payload, identity, run_hash, digest,
                payload_digest, max_attempts, priority, created_at, run_at, first_due, expires_at, trace, state)
            select g.seq, g.id, g.org_id, g.type, g.queue, g.payload::json, g.identity::jobs.identity_mode,
                g.run_hash, g.digest, g.payload_digest, g.max_attempts, g.priority, v_now, g.due,
                greatest(g.due, v_now), g.expires_at, g.trace,
                case when g.due <= v_now then 'ready' else 'scheduled' end::jobs.job_state
            from given g
            where g.identity = 'none' or not exists (
                select from jobs.job_keys k where k.digest = g.digest and k.expires_at > v_now)
            order by g.digest, g.n
            on conflict (digest) do nothing
            returning jobs_queue.id
        )
        select array_agg(c.id) into v_created from created c;
        if cardinality(v_created) = cardinality(v_open) then
            return;
        end if;
        v_open := array(select o from unnest(v_open) o where p_ids[o] <> all(coalesce(v_created, '{}')));

        -- A live one: receipt of that job, moved forward when it waits for a later time and was never attempted.
        v_moved := jobs.enqueue_advance(v_open, p_hashes, p_run_ats, p_delays, v_now);
        return query
            select o, q.id, q.state::text, q.id = any(v_moved), q.payload_digest <> p_payload_digests[o]
            from unnest(v_open) o
            join jobs.jobs_queue q on q.digest = encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid;
        v_open := array(
            select o from unnest(v_open) o where not exists (
                select from jobs.jobs_queue q
                where q.digest = encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid));

        -- A success that still counts: receipt of that run.
        return query
            select o, k.job_id, 'succeeded', false, coalesce(r.payload_digest <> p_payload_digests[o], false)
            from unnest(v_open) o
            join jobs.job_keys k on k.digest = encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid
            left join jobs.job_runs r on r.job_id = k.job_id
            where k.expires_at > v_now and p_identities[o] <> 'none';
        v_open := array(
            select o from unnest(v_open) o where p_identities[o] = 'none' or not exists (
                select from jobs.job_keys k
                where k.digest = encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid and k.expires_at > v_now));
        -- What is left met a job that has just ended without a success: it may be inserted now.
        exit when v_open = '{}';
    end loop;
    if v_open <> '{}' then
        raise exception 'enqueue met a concurrent transaction again and again' using errcode = '40001';
    end if;
end
$$;

-- Moves unattempted scheduled jobs to an earlier time, in the order of their identities; returns their ids.
create or replace function jobs.enqueue_advance(
    p_open bigint[], p_hashes bytea[], p_run_ats timestamptz[], p_delays double precision[], p_now timestamptz
) returns uuid[]
language sql volatile
set search_path = ''
as $$
    with asked as (
        select encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid as digest,
            min(coalesce(p_run_ats[o], p_now + coalesce(p_delays[o], 0) * interval '1 second')) as due
        from unnest(p_open) o
        group by 1
    ),
    waiting as materialized (
        select q.id, a.due
        from asked a join jobs.jobs_queue q on q.digest = a.digest
        where q.state = 'scheduled' and q.first_claimed_at is null and a.due < q.run_at
        order by q.digest
        for update of q
    ),
    moved as (
        update jobs.jobs_queue q
        set run_at = w.due, first_due = greatest(w.due, p_now),
            state = case when w.due <= p_now then 'ready' else 'scheduled' end::jobs.job_state
        from waiting w
        where q.id = w.id
        returning q.id
    )
    select coalesce(array_agg(m.id), '{}') from moved m
$$;

-- The hash under which a piece of work is queued and recorded: every field preceded by its length, so that no two
-- inputs share a serialisation. The twin of the one computed in clients.
create or replace function jobs.run_hash_v1(p_org text, p_type text, p_kind text, p_identity bytea) returns bytea
language sql immutable parallel safe
set search_path = ''
as $$
    select sha256(string_agg(int4send(octet_length(f)) || f, ''::bytea order by n))
    from unnest(array[convert_to('jobs-exec/1', 'UTF8'), convert_to(p_org, 'UTF8'), convert_to(p_type, 'UTF8'),
                      convert_to(p_kind, 'UTF8'), p_identity]) with ordinality as u(f, n)
$$;

-- Enqueueing from SQL and from other languages: one job, in the caller's transaction.
--
-- Identity by payload needs RFC 8785, which jsonb cannot give (it has re-typed the numbers by then): pass run_hash,
-- or key, or use a type whose identity is none.
create or replace function jobs.enqueue(
    org_id text, type text, data json default '{}', key text default null, priority integer default 5,
    run_at timestamptz default null, delay interval default null, max_attempts integer default null,
    expires_at timestamptz default null, trace text default null, run_hash bytea default null,
    allow_unregistered boolean default false
) returns table (id uuid, outcome text, of uuid, of_state text, advanced boolean, conflict boolean)
language plpgsql volatile
set search_path = ''
as $$
#variable_conflict use_column
declare
    v_id constant uuid := jobs.uuid_v7();
    v_known jobs.job_types%rowtype;
    v_mode text;
    v_hash bytea;
begin
    select t.* into v_known from jobs.job_types t where t.name = enqueue.type;
    if not found and not enqueue.allow_unregistered then
        raise exception 'type: % is not registered by any executor', quote_literal(enqueue.type)
            using errcode = '22023', hint = 'start an executor that carries it, or pass allow_unregistered => true';
    end if;
    v_mode := case when enqueue.key is not null then 'key' else coalesce(v_known.identity::text, 'payload') end;
    v_hash := case
        when enqueue.run_hash is not null then enqueue.run_hash
        when v_mode = 'key' then
            jobs.run_hash_v1(enqueue.org_id, enqueue.type, v_mode, convert_to(enqueue.key, 'UTF8'))
        when v_mode = 'none' then jobs.run_hash_v1(enqueue.org_id, enqueue.type, v_mode, uuid_send(v_id))
    end;
    if v_hash is null then
        raise exception 'key: is missing; SQL cannot compute the identity of a payload'
            using errcode = '22023', hint = 'pass key => ..., or register the type with identity none';
    end if;
    if enqueue.run_at is not null and enqueue.delay is not null then
        raise exception 'delay: is given together with run_at; pass one of them' using errcode = '22023';
    end if;
    return query
        select coalesce(e.id, v_id), case when e.id is null then 'created' else 'duplicate' end, e.id, e.of_state,
            coalesce(e.advanced, false), coalesce(e.conflict, false)
        from (select) one
        left join jobs.jobs_enqueue_v1(
            array[v_id], array[enqueue.org_id], array[enqueue.type],
            array[coalesce(v_known.queue, 'default')::text], array[enqueue.data::text], array[v_mode], array[v_hash],
            array[jobs.payload_digest_v1(enqueue.data)],
            array[coalesce(enqueue.max_attempts, v_known.max_attempts, 5)::smallint],
            array[enqueue.priority::smallint], array[enqueue.run_at],
            array[extract(epoch from enqueue.delay)::double precision], array[enqueue.expires_at],
            array[enqueue.trace]) e on true;
end
$$;

-- Tells two payloads under one key apart. Over jsonb's own form, so it equals a client's only for the same caller.
create or replace function jobs.payload_digest_v1(p_data json) returns uuid
language sql immutable parallel safe
set search_path = ''
as $$
    select encode(substring(sha256(convert_to(p_data::jsonb::text, 'UTF8')) from 1 for 16), 'hex')::uuid
$$;

select jobs.close_to_strangers();
