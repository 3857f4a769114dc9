-- How jobs end and how attempts end: fenced by (id, token), in batches.
--
-- Rows are always reached by "id = any(...)", and what belongs to each is found by its place in the array: a join to
-- unnest() was planned the other way round on an empty queue, and then read the whole of it at each settle.

-- Ends jobs that the caller has locked: rows leave the queue and become runs. Element n of every array is about
-- p_ids[n]; p_errors may hold null. Returns how many ended. Keys are written for successes only, and only when
-- no unexpired success of the same work stands: the first one counts.
create or replace function jobs.jobs_end_v1(
    p_ids uuid[], p_statuses text[], p_retention double precision, p_reasons text[] default null,
    p_errors text[] default null, p_results text[] default null, p_ttls double precision[] default null,
    p_ofs uuid[] default null
) returns bigint
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := jobs.clock();
    v_count bigint;
begin
    with gone as materialized (
        delete from jobs.jobs_queue q where q.id = any(p_ids)
        returning q.*, array_position(p_ids, q.id) as n
    ),
    ended as materialized (
        select g.*, p_statuses[g.n]::jobs.run_status as status, p_reasons[g.n] as end_reason, p_errors[g.n] as error,
            p_results[g.n]::json as result, p_ttls[g.n] as ttl, p_ofs[g.n] as duplicate_of
        from gone g
    ),
    keyed as (
        insert into jobs.job_keys (digest, org_id, job_id, token, finished_at, expires_at)
        select w.digest, w.org_id, w.id, w.token, v_now, v_now + w.ttl * interval '1 second'
        from ended w
        where w.status = 'succeeded' and w.ttl is not null and w.identity <> 'none'
        on conflict (digest) do update
            set job_id = excluded.job_id, token = excluded.token, org_id = excluded.org_id,
                finished_at = excluded.finished_at, expires_at = excluded.expires_at, result = null
            where job_keys.expires_at <= v_now
        returning 1
    ),
    recorded as (
        insert into jobs.job_runs (job_id, org_id, type, queue, status, identity, run_hash, payload_digest, token,
            attempts, max_attempts, priority, crashes, executor, created_at, started_at, first_claimed_at,
            finished_at, expires_at, keep_until, trace, reason, duplicate_of, result, errors, payload)
        select w.id, w.org_id, w.type, w.queue, w.status, w.identity, w.run_hash, w.payload_digest, w.token,
            w.attempts, w.max_attempts, w.priority, w.crashes, w.executor, w.created_at, w.started_at,
            w.first_claimed_at, v_now, w.expires_at,
            v_now + greatest(p_retention, case when w.status = 'succeeded' then w.ttl end) * interval '1 second',
            w.trace, w.end_reason, w.duplicate_of, w.result,
            case when w.status = 'succeeded' then w.errors
                 else jobs.error_history(w.errors, w.attempts, v_now, w.end_reason, w.error) end,
            case when w.status in ('succeeded', 'duplicate') then null else w.payload end
        from ended w
        returning 1
    )
    select count(*) into v_count from recorded;
    return v_count;
end
$$;

-- The error history with one more entry, oldest first. The newest 50 are kept: max_attempts may be 1000.
create or replace function jobs.error_history(
    p_errors jsonb, p_attempt integer, p_at timestamptz, p_reason text, p_error text
) returns jsonb
language sql immutable parallel safe
return case
    when p_reason is null and p_error is null then p_errors
    else case when pg_catalog.jsonb_array_length(p_errors) >= 50 then p_errors - 0 else p_errors end
        || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
            'attempt', p_attempt, 'at', p_at, 'reason', p_reason, 'error', p_error))
end;

-- Settles a batch of attempts. Rows are locked in id order; locked rows are skipped and answered 'busy' (send them
-- again), rows whose token has moved or that are gone are answered 'lost'. What is not mentioned was written.
-- The settle of a success costs one index probe for the lock, one delete and one insert.
create or replace function jobs.jobs_settle_v1(
    p_ids uuid[], p_tokens bigint[], p_actions text[], p_retention double precision, p_delays double precision[],
    p_ttls double precision[], p_results text[], p_reasons text[], p_errors text[], p_ofs uuid[]
) returns table (id uuid, token bigint, answer text)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_mine bigint[];
    v_ends bigint[];
    v_stays bigint[];
begin
    select array_agg(l.n), array_agg(l.n) filter (where l.ends), array_agg(l.n) filter (where not l.ends)
    into v_mine, v_ends, v_stays
    from (
        select u.n,
            u.action not in ('retry', 'snooze', 'give_back', 'hold')
            or (u.action = 'retry' and q.attempts >= q.max_attempts) as ends
        from (
            select g.id, g.token, g.action, g.n
            from unnest(p_ids, p_tokens, p_actions) with ordinality as g(id, token, action, n)
            order by g.id
        ) u
        cross join lateral (
            select q.attempts, q.max_attempts from jobs.jobs_queue q
            where q.id = u.id and q.token = u.token
            for update skip locked
        ) q
    ) l;
    if v_ends is not null then
        perform jobs.jobs_end_v1(
            array_agg(p_ids[e]), array_agg(case p_actions[e] when 'retry' then 'dead' else p_actions[e] end),
            p_retention, array_agg(p_reasons[e]), array_agg(p_errors[e]), array_agg(p_results[e]),
            array_agg(p_ttls[e]), array_agg(p_ofs[e]))
        from unnest(v_ends) e;
    end if;
    if v_stays is not null then
        perform jobs.settle_stays(
            array_agg(p_ids[s]), array_agg(p_actions[s]), array_agg(p_delays[s]), array_agg(p_reasons[s]),
            array_agg(p_errors[s]))
        from unnest(v_stays) s;
    end if;
    if cardinality(v_mine) = cardinality(p_ids) then
        return;
    end if;
    return query
        select p_ids[o], p_tokens[o], case when exists (
                select from jobs.jobs_queue q where q.id = p_ids[o] and q.token = p_tokens[o]
            ) then 'busy' else 'lost' end
        from generate_subscripts(p_ids, 1) o
        where o <> all(coalesce(v_mine, '{}'));
end
$$;

-- Ends attempts without ending their jobs. A failure spends the attempt, everything else returns it. An attempt that
-- came to an end of its own making did not take its executor down; one that was given back or held has not shown that.
create or replace function jobs.settle_stays(
    p_ids uuid[], p_actions text[], p_delays double precision[], p_reasons text[], p_errors text[]
) returns void
language sql volatile
set search_path = ''
as $$
    update jobs.jobs_queue q
    set token = q.token + 1, executor = null, started_at = null,
        (state, attempts, run_at, suspect, reason, held_since, errors) = (
            select case
                    when w.action = 'hold' then 'held'
                    when w.action = 'give_back' and w.delay <= 0 then 'ready'
                    else 'scheduled' end::jobs.job_state,
                q.attempts - case when w.action = 'retry' then 0 else 1 end,
                jobs.clock() + w.delay * interval '1 second',
                q.suspect and w.action in ('give_back', 'hold'),
                case when w.action = 'hold' then 'org' end,
                case when w.action = 'hold' then jobs.clock() end,
                case when w.action = 'retry'
                    then jobs.error_history(q.errors, q.attempts, jobs.clock(), w.reason, w.error) else q.errors end
            from (
                select p_actions[n] as action, coalesce(p_delays[n], 0) as delay, p_reasons[n] as reason,
                    p_errors[n] as error
                from array_position(p_ids, q.id) n
            ) w
        )
    where q.id = any(p_ids)
$$;

select jobs.close_to_strangers();
