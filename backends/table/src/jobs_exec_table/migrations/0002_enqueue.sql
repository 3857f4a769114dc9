-- Enqueueing: one statement for a batch, in its own transaction or in the caller's.
--
-- It inserts with DO NOTHING and then reads, so it takes locks only on its own identities, sorted, and touches an
-- existing row only to move an unattempted scheduled job forward. It answers only about jobs that repeat something:
-- whatever is not mentioned was created.
--
-- It runs with the rights of its owner, so that whoever may enqueue needs no right on a table (`db grant --enqueue`).
-- It is long because its three steps share the list of what is still open, and each must see what the one before did.
-- p_seqs orders the jobs when one batch of a caller takes several calls, sorted by identity over all of them.

create or replace function jobs.jobs_enqueue_v1(
    p_ids uuid[], p_orgs text[], p_types text[], p_queues text[], p_payloads text[], p_identities text[],
    p_hashes bytea[], p_payload_digests uuid[], p_max_attempts smallint[], p_priorities smallint[],
    p_run_ats timestamptz[], p_delays double precision[], p_expires_ats timestamptz[], p_traces text[],
    p_seqs bigint[] default null
) returns table (n bigint, id uuid, of_state text, advanced boolean, conflict boolean)
language plpgsql volatile security definer
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
    v_answered bigint[];
begin
    for v_try in 1..20 loop
        -- seq is taken in input order, before the sort: jobs of an org keep the order of the batch.
        with given as materialized (
            select u.*, coalesce(p_seqs[u.n], nextval('jobs.jobs_queue_seq')) as seq,
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

        -- A live one: receipt of that job, moved forward when it waits for a later time and was never attempted. What is
        -- answered is read once: read again, a job that ended in between would be answered and inserted as well.
        v_moved := jobs.enqueue_advance(v_open, p_hashes, p_run_ats, p_delays, v_now);
        v_answered := '{}';
        for n, id, of_state, advanced, conflict in
            select o, q.id, q.state::text, q.id = any(v_moved),
                coalesce(q.payload_digest <> p_payload_digests[o], false)
            from unnest(v_open) o
            join jobs.jobs_queue q on q.digest = encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid
        loop
            v_answered := v_answered || n;
            return next;
        end loop;
        v_open := array(select unnest(v_open) except select unnest(v_answered));

        -- A success that still counts: receipt of that run.
        v_answered := '{}';
        for n, id, of_state, advanced, conflict in
            select o, k.job_id, 'succeeded', false, coalesce(r.payload_digest <> p_payload_digests[o], false)
            from unnest(v_open) o
            join jobs.job_keys k on k.digest = encode(substring(p_hashes[o] from 1 for 16), 'hex')::uuid
            left join jobs.job_runs r on r.job_id = k.job_id
            where k.expires_at > v_now and p_identities[o] <> 'none'
        loop
            v_answered := v_answered || n;
            return next;
        end loop;
        v_open := array(select unnest(v_open) except select unnest(v_answered));
        -- What is left met a job that has just ended without a success: it may be inserted now.
        exit when v_open = '{}';
    end loop;
    if v_open <> '{}' then
        raise exception 'enqueue met a concurrent transaction again and again' using errcode = '40001';
    end if;
end
$$;

-- Places for p_count jobs in the order of their orgs, for p_seqs.
create or replace function jobs.enqueue_seqs_v1(p_count integer) returns bigint[]
language sql volatile security definer
set search_path = ''
as $$
    select array_agg(nextval('jobs.jobs_queue_seq')) from generate_series(1, p_count)
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

-- What is wrong with the data of a job, or null: the rules that clients hold themselves, in their words. The table
-- does not repeat them (it takes any JSON object), so that no claim and no batch of a client pays for them.
create or replace function jobs.problem_of_data_v1(p_data json, p_max_bytes integer) returns text
language plpgsql immutable
set search_path = ''
as $$
declare
    v_text constant text := p_data::text;
    v_data jsonb;
begin
    if v_text is null or json_typeof(p_data) <> 'object' then
        return format('must be a JSON object, not %s; pass an object such as {"id": 1}', coalesce(json_typeof(p_data), 'null'));
    elsif octet_length(convert_to(v_text, 'UTF8')) > p_max_bytes then
        return format('is %s bytes of JSON, more than max_payload_bytes => %s; '
            'store the content elsewhere and pass a reference, or raise it to JOB_MAX_PAYLOAD_BYTES',
            octet_length(convert_to(v_text, 'UTF8')), p_max_bytes);
    end if;
    begin
        v_data := v_text::jsonb;
    exception
        when untranslatable_character then return 'holds a NUL character, which Postgres cannot store; leave it out, or pass base64';
        when numeric_value_out_of_range then return 'holds a number that no executor could read: it is not finite; pass it as text';
        when program_limit_exceeded or statement_too_complex then return 'is nested deeper than 64 levels; flatten it, or pass the inner part as text';
        when data_exception then return 'holds a lone surrogate, which is not valid Unicode text; leave it out, or pass base64';
    end;
    return case
        when jsonb_path_exists(v_data, 'strict $.**{64 to last} ? (@.type() == "object" || @.type() == "array")')
            then 'is nested deeper than 64 levels; flatten it, or pass the inner part as text'
        when exists (
            select from jsonb_path_query(v_data, 'strict $.** ? (@.type() == "number")') n
            where abs((n #>> '{}')::numeric) > 1.7976931348623157e308)
            then 'holds a number that no executor could read: it is not finite; pass it as text'
        when exists (
            -- Without the texts in it, so that what looks like a number is one; jsonb would have re-typed 1e20.
            select from regexp_matches(regexp_replace(v_text, '"([^"\\]|\\.)*"', '""', 'g'),
                '(?<![0-9.eE+-])-?([0-9]{16,})(?![0-9.eE])', 'g') n
            where n[1]::numeric > 9007199254740992)
            then 'holds an integer beyond ±2^53; pass it as text'
    end;
end
$$;

-- What is wrong with a job, or null: the first rule of the envelope that it breaks, with the field it is about.
create or replace function jobs.problem_of_job_v1(
    p_org text, p_type text, p_key text, p_priority integer, p_run_at timestamptz, p_delay interval,
    p_max_attempts integer, p_expires_at timestamptz, p_trace text
) returns text
language sql immutable
set search_path = ''
as $$
    select case
        when p_org is null then 'orgId: is missing; every job belongs to one org, pass org_id => ...'
        when p_org ~ '^[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$'
            then 'orgId: is blank; every job belongs to one org, pass its id'
        when p_org ~ '^[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]'
            or p_org ~ '[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$'
            then 'orgId: has white space around it; pass the id itself'
        when length(p_org) > 255
            then format('orgId: has %s characters, at most 255 are allowed', length(p_org))
        when p_org ~ '[\u0001-\u001f\u007f-\u009f]' then 'orgId: holds a control character; pass the id itself'
        when p_type is null then 'type: is missing; name the job type'
        when p_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'
            then format('type: %L must start with a letter, go on with letters, digits or _ . : - '
                'and have at most 128 characters', left(p_type, 128))
        when length(p_key) not between 1 and 512 then 'key: must have 1 to 512 characters'
        when p_priority is null or p_priority not between 0 and 9
            then 'priority: must be a whole number from 0 to 9'
        when p_max_attempts not between 1 and 1000 then 'max_attempts: must be a whole number from 1 to 1000'
        when p_run_at is not null and p_delay is not null
            then 'delay: is given together with run_at; pass one of them'
        when p_delay not between interval '0' and interval '366 days' then 'delay: must be from 0 to 366 days'
        when p_run_at not between '1970-01-02 00:00+00' and '9999-12-30 00:00+00'
            then 'run_at: must lie between the years 1970 and 9999'
        when p_expires_at not between '1970-01-02 00:00+00' and '9999-12-30 00:00+00'
            then 'expires_at: must lie between the years 1970 and 9999'
        when p_trace !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
            then 'trace: must be a W3C traceparent such as 00-<32 hex>-<16 hex>-01'
    end
$$;

-- Enqueueing from SQL and from other languages: one job, in the caller's transaction.
--
-- Identity by payload needs RFC 8785, which jsonb cannot give (it has re-typed the numbers by then): pass run_hash,
-- or key, or use a type whose identity is none.
create or replace function jobs.enqueue(
    org_id text, type text, data json default '{}', key text default null, priority integer default 5,
    run_at timestamptz default null, delay interval default null, max_attempts integer default null,
    expires_at timestamptz default null, trace text default null, run_hash bytea default null,
    allow_unregistered boolean default false, max_payload_bytes integer default 262144
) returns table (id uuid, outcome text, of uuid, of_state text, advanced boolean, conflict boolean)
language plpgsql volatile security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    v_id constant uuid := jobs.uuid_v7();
    v_known jobs.job_types%rowtype;
    v_mode text;
    v_hash bytea;
    v_problem constant text := coalesce(
        jobs.problem_of_job_v1(enqueue.org_id, enqueue.type, enqueue.key, enqueue.priority, enqueue.run_at,
            enqueue.delay, enqueue.max_attempts, enqueue.expires_at, enqueue.trace),
        'data: ' || jobs.problem_of_data_v1(enqueue.data, enqueue.max_payload_bytes));
begin
    if v_problem is not null then
        raise exception '%', v_problem using errcode = '22023';
    end if;
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
    return query
        select coalesce(e.id, v_id), case when e.id is null then 'created' else 'duplicate' end, e.id, e.of_state,
            coalesce(e.advanced, false), coalesce(e.conflict, false)
        from (select) one
        left join jobs.jobs_enqueue_v1(
            array[v_id], array[enqueue.org_id], array[enqueue.type],
            array[coalesce(v_known.queue, 'default')::text], array[enqueue.data::text], array[v_mode], array[v_hash],
            array[null::uuid],
            array[coalesce(enqueue.max_attempts, v_known.max_attempts, 5)::smallint],
            array[enqueue.priority::smallint], array[enqueue.run_at],
            array[extract(epoch from enqueue.delay)::double precision], array[enqueue.expires_at],
            array[enqueue.trace]) e on true;
end
$$;

-- The job types that executors have announced, for those who may enqueue and read no table.
create or replace function jobs.known_types_v1()
returns table (name text, queue text, identity text, max_attempts smallint, last_seen timestamptz)
language sql stable security definer
set search_path = ''
as $$
    select t.name::text, t.queue::text, t.identity::text, t.max_attempts, t.last_seen from jobs.job_types t
$$;

select jobs.close_to_strangers();
