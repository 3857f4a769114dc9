-- Starting one job at once, in the hands of whoever triggers it.
--
-- Enqueue and start share one lock, the unique index over live identities: the job is enqueued like any other, and the
-- row that counts, new or not, is started in the same transaction when it may be. A row that is running is never
-- started; one that somebody else has locked counts as running.

-- Answers one row. "outcome" is a StartOutcome; job is set exactly when it is 'started'. With 'succeeded' job_id,
-- run_token, finished_at and result are the run that counts. job_id is null where the job of somebody's open
-- transaction was met: nobody can see it yet.
create or replace function jobs.jobs_start_v1(
    p_executor uuid, p_id uuid, p_org text, p_type text, p_queue text, p_payload text, p_identity text, p_hash bytea,
    p_payload_digest uuid, p_max_attempts smallint, p_priority smallint, p_expires_at timestamptz, p_trace text,
    p_retention double precision
) returns table (
    outcome text, job_id uuid, wait double precision, attempts smallint, max_attempts smallint, conflict boolean,
    reason text, run_token bigint, finished_at timestamptz, result text, job jobs.claim_row_v1
)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
-- Whoever has enqueued the same work in a transaction that stays open would keep the caller for as long.
set lock_timeout = '3s'
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := jobs.clock();
    v_digest constant uuid := encode(substring(p_hash from 1 for 16), 'hex')::uuid;
    v_of_state text;
    v_created boolean;
    v_row jobs.jobs_queue%rowtype;
begin
    conflict := false;
    if not jobs.claim_lease(p_executor) then
        outcome := 'no_lease';
        return next;
        return;
    end if;
    for v_try in 1..20 loop
        select e.id, e.of_state, coalesce(e.conflict, false), e.id is null
        into job_id, v_of_state, conflict, v_created
        from (select) one
        left join jobs.jobs_enqueue_v1(
            array[p_id], array[p_org], array[p_type], array[p_queue], array[p_payload], array[p_identity],
            array[p_hash], array[p_payload_digest], array[p_max_attempts], array[p_priority],
            array[null::timestamptz], array[null::double precision], array[p_expires_at], array[p_trace]) e on true;
        if v_created or v_of_state = 'succeeded' then
            -- A row of ours holds the identity now, so whatever ended before can be seen: work that was done, is dead or
            -- was cancelled. What enqueue has seen as done may have expired in between.
            select r.outcome, r.job_id, r.token, r.finished_at, r.result, r.attempts, r.max_attempts, r.reason
            into outcome, job_id, run_token, finished_at, result, attempts, max_attempts, reason
            from jobs.start_past(v_digest, p_org, p_hash) r;
            if outcome = 'succeeded' or v_created and outcome is not null then
                delete from jobs.jobs_queue q where q.id = p_id;
                return next;
                return;
            end if;
            continue when not v_created;
            job_id := p_id;
        end if;

        select q.* into v_row from jobs.jobs_queue q where q.id = job_id for update skip locked;
        if not found then
            continue when not exists (select from jobs.jobs_queue q where q.id = job_id);
            outcome := 'running';
            return next;
            return;
        end if;
        attempts := v_row.attempts;
        max_attempts := v_row.max_attempts;
        outcome := case
            when v_row.state = 'running' then 'running'
            when v_row.state = 'held' and v_row.reason is distinct from 'type' then 'held'
            -- A held one may wait for a later time as well.
            when v_row.state <> 'ready' and v_row.run_at > v_now then 'waiting'
            else 'started' end;
        if outcome <> 'started' then
            wait := greatest(extract(epoch from v_row.run_at - v_now), 0);
            reason := case outcome when 'held' then v_row.reason else v_row.errors -> -1 ->> 'reason' end;
            return next;
            return;
        end if;
        if v_row.state = 'held' then
            update jobs.jobs_queue q
            set state = 'ready', reason = null, held_since = null,
                held_seconds = q.held_seconds
                    + greatest(extract(epoch from v_now - greatest(q.held_since, q.first_due)), 0)
            where q.id = job_id;
        end if;
        select s.* into job from jobs.claim_start(p_executor, array[job_id], p_retention) s;
        if job.kind = 'job' then
            attempts := job.attempts;
            return next;
            return;
        end if;
        job := null;
        if v_created then
            outcome := 'expired';
            reason := 'expires_at';
            return next;
            return;
        end if;
        -- What waited was past its time, or its work was done meanwhile: it has ended, and this call is looked at anew.
    end loop;
    raise exception 'start met a concurrent transaction again and again' using errcode = '40001';
exception when lock_not_available then
    outcome := 'running';
    job_id := null;
    return next;
end
$$;

-- How work of this identity has ended, as far as it forbids another start: succeeded with an unexpired key, dead, or
-- cancelled. An enqueue would make a new job of the last two; whoever calls again for the same work gets the same answer.
create or replace function jobs.start_past(p_digest uuid, p_org text, p_hash bytea) returns table (
    outcome text, job_id uuid, token bigint, finished_at timestamptz, result text, attempts smallint,
    max_attempts smallint, reason text
)
language sql stable
set search_path = ''
as $$
    select 'succeeded', k.job_id, k.token, k.finished_at, coalesce(k.result, r.result)::text, r.attempts,
        r.max_attempts, null::text
    from jobs.job_keys k
    left join jobs.job_runs r on r.job_id = k.job_id
    where k.digest = p_digest and k.expires_at > jobs.clock()
    union all
    select d.status::text, d.job_id, d.token, d.finished_at, null, d.attempts, d.max_attempts, d.reason
    from (
        select r.* from jobs.job_runs r
        where r.org_id = p_org and r.run_hash = p_hash
        order by r.finished_at desc, r.job_id desc
        limit 1
    ) d
    where d.status in ('dead', 'cancelled')
    limit 1
$$;

select jobs.close_to_strangers();
